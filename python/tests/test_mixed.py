"""The mixed world: words, pictures, scenes, prompts, and how a model of it is measured."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from glip_torch import evaluate, evaluate_mixed
from glip_torch.config import NANO_MIXED
from glip_torch.data import sprites
from glip_torch.data.batches import SceneBatches
from glip_torch.data.mixed_prompts import (
    ABOVE,
    BEHIND,
    IN_FRONT,
    LEFT,
    NEAR,
    RIGHT,
    sample_mixed_prompt,
    true_relations,
)
from glip_torch.data.mixed_scenes import NAMES, THING_SIZES, _pose, render_mixed_scene
from glip_torch.data.nouns import ABSENT, ABSENT_HELD_OUT, HELD_OUT_NAMES, KINDS, NOUNS, PIECES, plural
from glip_torch.data.prompts import COLOUR_NAMES, PATTERN_NAMES, SHAPE_NAMES, SIZE_NAMES
from glip_torch.data.scenes import COLOURS, HELD_OUT, SHAPES, Scene, SceneObject, Thing
from glip_torch.data.worlds import WORLDS
from glip_torch.postprocess import Detections
from glip_torch.probes import NONE, AttributeProbes, attribute_labels
from glip_torch.tokenizer import build_tokenizer, mixed_vocabulary, phrase_tokens

MIXED = WORLDS["mixed"]
TRAINED = [name for noun in NOUNS.values() for name in noun.names]

#: What is in scene 0 of the shapes' test set and scene 2 of the things'.
SHAPES_TEST_0 = (
    SceneObject("arrow", "purple", "solid", "large", (109, 126, 179, 225)),
    SceneObject("circle", "green", "striped", "small", (42, 216, 66, 238)),
    SceneObject("crescent", "orange", "solid", "small", (177, 132, 197, 156)),
)
THINGS_TEST_2 = (
    Thing("bell", None, "large", (150, 69, 245, 169)),
    Thing("motorcycle", "blue", "large", (194, 11, 283, 76)),
    Thing("paintbrush", None, "medium", (0, 191, 58, 230)),
    SceneObject("circle", "blue", "dotted", "medium", (218, 144, 279, 208)),
    Thing("snake", None, "large", (234, 0, 337, 82)),
    Thing("hammer", None, "medium", (54, 148, 115, 221)),
)

missing = sprites.available()
needs_pictures = pytest.mark.skipif(missing is not None, reason=str(missing))


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(mixed_vocabulary())


def hand_made_scene(rng: np.random.Generator) -> Scene:
    """Objects at random, in a picture that is not drawn: prompts need no more."""
    objects = []
    for _ in range(rng.integers(0, 7)):
        x, y, width, height = rng.integers(0, 128, 2).tolist() + rng.integers(16, 128, 2).tolist()
        box = (x, y, x + width - 1, y + height - 1)
        if rng.random() < 0.7:
            noun = NAMES[rng.integers(len(NAMES))]
            colour = list(COLOURS)[rng.integers(len(COLOURS))] if NOUNS[noun].painted else None
            objects.append(Thing(noun, colour, "medium", box))
        else:
            pairs = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT]
            colour, shape = pairs[rng.integers(len(pairs))]
            objects.append(SceneObject(shape, colour, "solid", "small", box))
    return Scene(np.zeros((256, 256, 3), np.uint8), tuple(objects))


# --- words ----------------------------------------------------------------------------------------------------------


def test_names_mean_one_thing_each():
    assert 110 <= len(NOUNS) <= 130
    shape_words = [word for names in (SHAPE_NAMES, COLOUR_NAMES, PATTERN_NAMES) for word in sum(names.values(), ())]
    words = [*TRAINED, *HELD_OUT_NAMES, *ABSENT, *ABSENT_HELD_OUT]
    assert len(set(words)) == len(words)
    assert not set(words) & set(shape_words)


def test_held_out_wordings_are_many_and_made_of_trained_tokens(tokenizer):
    assert {kind for _, kind in HELD_OUT_NAMES.values()} == set(KINDS)
    assert len({noun for noun, kind in HELD_OUT_NAMES.values() if kind != "plural"}) >= 25
    tokens = lambda text: set(tokenizer.encode(text, add_special_tokens=False).tokens)
    of_noun = {noun.name: set().union(*(tokens(name) for name in noun.names)) for noun in NOUNS.values()}
    everywhere = set().union(*of_noun.values(), tokens("a pair of ##s ##es"), {"##s", "##es"})
    for wording, (noun, _) in HELD_OUT_NAMES.items():
        # The first thing a reader wants to see of a name it never met is a piece of the names that it knows.
        assert tokens(wording) & of_noun[noun], wording
        assert tokens(wording) <= everywhere, wording
    assert not set(TRAINED) & set(HELD_OUT_NAMES)


def test_the_vocabulary_is_small_and_spells_words_in_their_pieces(tokenizer):
    vocabulary = mixed_vocabulary()
    assert len(vocabulary) == len(set(vocabulary)) < 2000
    assert len(vocabulary) == NANO_MIXED.text.vocab_size
    for word, pieces in PIECES.items():
        assert tuple(tokenizer.encode(word, add_special_tokens=False).tokens) == pieces
    assert "[UNK]" not in tokenizer.encode(" ".join(TRAINED)).tokens
    assert tokenizer.encode("dogs", add_special_tokens=False).tokens == ["dog", "##s"]


def test_plurals():
    singular = ("dog", "puppy", "fox", "mouse", "bread loaf", "teddy bear", "scissors", "monkey", "tropical fish")
    assert [plural(name) for name in singular] == [
        "dogs", "puppies", "foxes", "mice", "bread loaves", "teddy bears", "scissors", "monkeys", "tropical fish",
    ]  # fmt: skip


# --- prompts --------------------------------------------------------------------------------------------------------


def test_prompts_mean_what_they_say_and_never_use_what_is_held_out(tokenizer):
    determiner = r"(an?|the|some|several|one|two|three|four|a pair of) "
    attributes = {word for names in (COLOUR_NAMES, SIZE_NAMES) for word in sum(names.values(), ())}
    names = {name: noun.name for noun in NOUNS.values() for name in noun.names}
    names |= {plural(name): noun.name for noun in NOUNS.values() if noun.plural_known for name in noun.names}
    asked, negatives = set(), 0
    for index in range(3000):
        rng = np.random.default_rng([11, index])
        scene = hand_made_scene(rng)
        prompt = sample_mixed_prompt(rng, scene, simple=0.1)
        encoding = tokenizer.encode(prompt.text)
        assert len(prompt.spans) == len(prompt.targets) > 0
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(prompt.spans))
        for (begin, end), meant in zip(prompt.spans, prompt.targets):
            phrase = prompt.text[begin:end]
            assert phrase == phrase.strip() != ""
            phrase_tokens(encoding, begin, end)
            words = re.sub(r" (in|that is|that are|colored) \w+$", "", re.sub(f"^{determiner}", "", phrase)).split()
            while words and (words[0] in attributes or words[0] == "sized"):
                words = words[1:]
            name = " ".join(words)
            assert name not in HELD_OUT_NAMES, prompt.text
            assert not set(words) & set(ABSENT_HELD_OUT), prompt.text
            for colour, shape in HELD_OUT:
                assert not {colour, shape} <= set(phrase.split())
            negatives += not meant
            if name in names:
                asked.add(name)
                # All of the noun's objects, unless the phrase asks for some colour or size of it.
                alike = [i for i, thing in enumerate(scene.objects) if getattr(thing, "noun", None) == names[name]]
                assert set(meant) <= set(alike)
                if phrase.endswith(name) and len(words) == len(re.sub(f"^{determiner}", "", phrase).split()):
                    assert list(meant) == alike
    assert set(TRAINED) <= asked
    assert negatives > 5000


def test_phrases_without_a_noun_are_asked_among_shapes_only():
    thing = Thing("dog", None, "small", (0, 0, 40, 40))
    shape = SceneObject("circle", "red", "striped", "small", (100, 100, 140, 140))
    scene = Scene(np.zeros((256, 256, 3), np.uint8), (thing, shape))
    for index in range(300):
        prompt = sample_mixed_prompt(np.random.default_rng(index), scene, simple=0.2)
        phrases = [prompt.text[begin:end] for begin, end in prompt.spans]
        bare = {"red", "crimson", "scarlet", "striped", "stripy", "shape", "thing", "object", "figure"}
        assert not any(set(phrase.split()[-1:]) & (bare - {"red", "crimson", "scarlet"}) for phrase in phrases)
        assert not set(phrases) & bare


def test_relations_are_true():
    boxes = [(0, 0, 40, 40), (60, 5, 100, 45), (200, 200, 240, 240), (80, 20, 130, 70)]
    objects = tuple(Thing("dog", None, "small", box) for box in boxes)
    scene = Scene(np.zeros((256, 256, 3), np.uint8), objects)
    assert true_relations(scene, 0, 1) == [LEFT, NEAR]
    assert true_relations(scene, 1, 0) == [RIGHT, NEAR]
    assert true_relations(scene, 0, 2) == [LEFT, ABOVE]
    assert true_relations(scene, 1, 3) == [NEAR, BEHIND]
    assert true_relations(scene, 3, 1) == [NEAR, IN_FRONT]


# --- pictures and scenes --------------------------------------------------------------------------------------------


def test_a_missing_icon_set_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIP_PICTURES", str(tmp_path))
    with pytest.raises(sprites.PicturesMissing, match="npm install .*@iconify-json/noto"):
        sprites.find_icons()
    (tmp_path / "icons.json").write_text("{}")
    (tmp_path / "package.json").write_text(json.dumps({"version": "0.0.1"}))
    with pytest.raises(sprites.PicturesMissing, match="of version 0.0.1, the scenes need"):
        sprites.find_icons()


@needs_pictures
def test_every_noun_has_a_picture_unlike_every_other():
    looks = {}
    for noun in NOUNS.values():
        for number, pixels in enumerate(sprites.pictures_of(noun)):
            opaque = pixels[..., 3] > 127
            assert max(opaque.shape) == sprites.STORED_SIZE
            # Cropped: nearly opaque, to allow for rounding, in the first and last row and column.
            assert all((pixels[..., 3][edge] > 90).any() for edge in ((0,), (-1,), (slice(None), 0), (slice(None), -1)))
            picture = Image.fromarray(pixels).resize((24, 24), Image.Resampling.BOX)
            flat = Image.alpha_composite(Image.new("RGBA", (24, 24), (128, 128, 128, 255)), picture)
            looks[noun.name, number] = np.asarray(flat, np.float32)[..., :3]
    pairs = [(a, b) for a, b in itertools.combinations(looks, 2) if a[0] != b[0]]
    difference, closest = min((float(np.abs(looks[a] - looks[b]).mean()), (a, b)) for a, b in pairs)
    assert difference > 10, closest


@needs_pictures
def test_painted_pictures_have_the_palettes_colours():
    for noun in ("car", "shirt", "teapot", "book"):
        looks = sprites.sprites(noun)
        assert tuple(looks) == tuple(COLOURS)
        for colour, (first, *_) in looks.items():
            hsv = np.asarray(first.levels[0].convert("RGBA").convert("RGB").convert("HSV"), float) / 255
            vivid = hsv[..., 0][(hsv[..., 1] > 0.4) & (np.asarray(first.levels[0])[..., 3] > 250)]
            off = np.abs((vivid - COLOURS[colour][0] + 0.5) % 1 - 0.5)
            assert (off < 0.03).mean() > 0.6, (noun, colour)
    assert list(sprites.sprites("dog")) == [None]


@needs_pictures
def test_posed_pictures_are_tight_and_of_their_size():
    rng = np.random.default_rng(5)
    for noun in ("dog", "key", "rocket", "flamingo", "wine glass"):
        for size in (16.0, 40.0, 120.0):
            (sprite, *_) = next(iter(sprites.sprites(noun).values()))
            coverage, pixels = _pose(rng, sprite, size)
            assert pixels.shape == (*coverage.shape, 3)
            assert all((coverage[edge] > 0.5).any() for edge in ((0,), (-1,), (slice(None), 0), (slice(None), -1)))
            assert size - 3 <= max(coverage.shape) <= size + 2, (noun, size)


@needs_pictures
def test_a_mixed_scene_depends_on_seed_and_index_alone():
    first, again, other = (render_mixed_scene(7, index, 128, 128) for index in (3, 3, 4))
    assert (first.image == again.image).all() and first.objects == again.objects
    assert first.objects != other.objects


@needs_pictures
def test_mixed_scenes_have_both_kinds_in_boxes_of_their_size():
    scenes = [render_mixed_scene(9, index, 160, 128) for index in range(60)]
    objects = [thing for scene in scenes for thing in scene.objects]
    things = [thing for thing in objects if isinstance(thing, Thing)]
    assert 0.5 < len(things) / len(objects) < 0.9
    assert not any(thing.held_out for thing in objects if isinstance(thing, SceneObject))
    assert all((thing.colour is not None) == NOUNS[thing.noun].painted for thing in things)
    for thing in things:
        x1, y1, x2, y2 = thing.box
        assert 0 <= x1 <= x2 < 160 and 0 <= y1 <= y2 < 128
        if x1 > 0 and y1 > 0 and x2 < 159 and y2 < 127:
            low, high = THING_SIZES[thing.size]
            assert low / 2 - 3 <= max(x2 - x1, y2 - y1) + 1 <= high / 2 + 2


@needs_pictures
def test_masks_of_mixed_scenes_lie_in_their_boxes():
    for scene in (render_mixed_scene(9, index, 160, 128) for index in range(10)):
        assert scene.owner.max() == len(scene.objects) > 0
        for k, thing in enumerate(scene.objects):
            x1, y1, x2, y2 = thing.box
            mask = scene.mask(k)
            assert mask[y1 : y2 + 1, x1 : x2 + 1].sum() == mask.sum() > 0


@needs_pictures
def test_batches_of_the_mixed_world(tokenizer):
    load = lambda: SceneBatches(tokenizer, seed=1, size=6, world=MIXED).load(0, 64)
    first, again = load(), load()
    assert (first.pixels == again.pixels).all() and (first.input_ids == again.input_ids).all()
    nouns = first.attributes[..., 3][first.present]
    assert (nouns >= 0).any() and (nouns == NONE).any()


def test_probes_learn_from_what_an_object_has():
    dog, circle = (
        Thing("dog", None, "small", (0, 0, 9, 9)),
        SceneObject("circle", "red", "solid", "small", (0, 0, 9, 9)),
    )
    attributes = MIXED.attributes
    labels = [attribute_labels(thing, attributes) for thing in (dog, circle)]
    assert labels == [[NONE, NONE, NONE, NAMES.index("dog")], [0, 0, 0, NONE]]
    probes = AttributeProbes(8, stages=1, attributes=attributes)
    stages = [[torch.randn(1, 8, 4, 4)]]
    assigned = torch.full((1, 16), -1)
    assigned[0, :4] = 0
    loss = probes(stages, assigned, torch.tensor([labels[:1]]))
    # Three of four attributes are missing and cost nothing.
    assert 0 < loss.item() < 2 * np.log(len(NAMES))
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in probes.parameters())


# --- measuring ------------------------------------------------------------------------------------------------------


def test_the_fixed_set_of_shapes_stays_what_it_was():
    # Numbers of glip-drawn belong to these scenes.
    assert evaluate.evaluation_scene("test", 0).objects == SHAPES_TEST_0


@needs_pictures
def test_the_fixed_set_of_things_stays_what_it_was():
    assert evaluate_mixed.evaluation_scene("test", 2).objects == THINGS_TEST_2
    assert evaluate_mixed.SCENES == 500
    assert len(set(evaluate_mixed.SEEDS.values()) | set(evaluate.SEEDS.values())) == 4


def test_absent_things_are_absent():
    near = 0
    for index in range(200):
        rng = np.random.default_rng([4, index])
        scene = hand_made_scene(rng)
        present = {thing.noun for thing in evaluate_mixed.things(scene)}
        drawn = evaluate_mixed.absent_things(rng, scene)
        assert {"known", "foreign"} <= set(drawn)
        assert drawn["foreign"] in ABSENT_HELD_OUT
        groups = {NOUNS[noun].group for noun in present}
        for kind in ("known", "near"):
            if kind in drawn:
                (noun,) = (noun for noun in NOUNS.values() if drawn[kind] in noun.names)
                assert noun.name not in present
        if "near" in drawn:
            near += 1
            assert next(noun for noun in NOUNS.values() if drawn["near"] in noun.names).group in groups
    assert near > 100


def perfect(scene: Scene, nouns: tuple[str, ...], miss: str | None = None) -> Detections:
    found = [(thing.box, nouns.index(thing.noun)) for thing in evaluate_mixed.things(scene) if thing.noun != miss]
    boxes = torch.tensor([box for box, _ in found], dtype=torch.float32).reshape(-1, 4)
    return Detections(boxes, torch.full((len(found),), 0.9), torch.tensor([label for _, label in found]))


def test_measuring_by_hand():
    scenes = [hand_made_scene(np.random.default_rng([6, index])) for index in range(30)]
    seen = evaluate_mixed.things(scenes[1])[0].noun if evaluate_mixed.things(scenes[1]) else NAMES[0]
    measured = evaluate_mixed.ThingEvaluator.__new__(evaluate_mixed.ThingEvaluator)
    measured.truth = scenes
    measured.found = [perfect(scene, NAMES) for scene in scenes]
    measured.absent = {"known": [0.2, 0.6, 0.7, 0.1]}
    assert measured.precision_recall(0.5) == (1.0, 1.0)
    assert measured.precision_recall(0.95) == (0.0, 0.0)
    assert measured.false_alarms(0.6) == {"known": 0.5}
    precision = evaluate_mixed._precision(scenes, measured.found, NAMES)
    assert precision[precision > -1].min() == pytest.approx(1)
    missed = evaluate_mixed._precision(scenes, [perfect(scene, NAMES, miss=seen) for scene in scenes], NAMES)
    assert missed[:, :, NAMES.index(seen)].max() == 0


def test_wordings_are_measured_by_the_noun_they_mean():
    scene = Scene(np.zeros((64, 64, 3), np.uint8), (Thing("cup", None, "small", (2, 3, 30, 31)),))
    box = torch.tensor([[2.0, 3.0, 30.0, 31.0]])
    found = Detections(box.repeat(2, 1), torch.tensor([0.9, 0.8]), torch.tensor([0, 2]))
    precision = evaluate_mixed._precision([scene], [found], ("cup", "cup", "dog"))
    assert precision[:, :, 0].min() == pytest.approx(1)
    # Asked for and not found; and asked for where there is none, which has no precision.
    assert precision[:, :, 1].max() == 0 and precision[:, :, 2].max() == -1


def test_the_threshold_keeps_every_false_alarm_rare():
    class Found:
        def __init__(self, scores, best):
            self.scores, self.best = np.array(scores), best

        def false_alarms(self, threshold):
            return {"known": float((self.scores >= threshold).mean())}

        def precision_recall(self, threshold):
            return (1.0, 1.0) if abs(threshold - self.best) < 0.005 else (0.5, 0.5)

    quiet, loud = Found([0.1] * 100, best=0.3), Found([0.5] * 10 + [0.1] * 90, best=0.6)
    # 0.3 would be as good, but a tenth of the second set's prompts gets past it.
    assert evaluate_mixed.choose_threshold([quiet, loud]) == 0.6


def test_of_thresholds_that_are_as_good_the_lowest_is_chosen():
    class Found:
        def false_alarms(self, threshold):
            return {"known": 0.0}

        def precision_recall(self, threshold):
            # F1 falls by 0.009, then by 0.1, for each tenth below its best at 0.7.
            return (1 - 0.18 * (threshold < 0.695) * (0.7 - threshold) * (1 + 9 * (threshold < 0.595)), 1.0)

    assert evaluate_mixed.choose_threshold([Found()]) == 0.6


def test_all_phrases_are_asked_for_once():
    for count in (len(NAMES), len(HELD_OUT_NAMES)):
        chunks = evaluate_mixed.chunks(count)
        assert sorted(np.concatenate(chunks)) == list(range(count))
        assert max(map(len, chunks)) <= evaluate.PHRASES_PER_PROMPT
