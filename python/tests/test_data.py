import numpy as np
import pytest

from glip_torch.data.batches import SceneBatches, collate
from glip_torch.data.prompts import Query, ScenePrompt, sample_prompt
from glip_torch.data.scenes import COLOURS, HELD_OUT, SHAPES, SIZES, Scene, SceneObject, place, render_scene
from glip_torch.tokenizer import build_tokenizer, nano_vocabulary, phrase_tokens


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(7, index) for index in range(60)]


def test_a_scene_depends_on_seed_and_index_alone():
    first, again, other = render_scene(7, 3), render_scene(7, 3), render_scene(7, 4)
    assert (first.image == again.image).all() and first.objects == again.objects
    assert first.objects != other.objects


def test_held_out_combinations_are_a_fifth_and_leave_every_word_known():
    assert len(HELD_OUT) == len(COLOURS) * len(SHAPES) // 5
    for colour in COLOURS:
        assert sum((colour, shape) in HELD_OUT for shape in SHAPES) < len(SHAPES) / 2
    for shape in SHAPES:
        assert sum((colour, shape) in HELD_OUT for colour in COLOURS) < len(COLOURS) / 2


def test_training_scenes_never_show_a_held_out_combination(scenes):
    assert not any(thing.held_out for scene in scenes for thing in scene.objects)
    shown = [thing for index in range(60) for thing in render_scene(7, index, held_out_share=0.5).objects]
    assert any(thing.held_out for thing in shown)


def test_boxes_lie_in_the_picture_and_have_their_size(scenes):
    for scene in scenes:
        height, width = scene.image.shape[:2]
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height
            if x1 > 0 and y1 > 0 and x2 < width - 1 and y2 < height - 1:
                low, high = SIZES[thing.size]
                assert low - 2 <= max(x2 - x1, y2 - y1) + 1 <= high + 2


def tight(mask):
    """The box of a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1], rows[-1]


def test_masks_are_what_is_in_view_of_each_object(scenes):
    overlapped = 0
    for scene in scenes:
        height, width = scene.image.shape[:2]
        masks = [scene.mask(k) for k in range(len(scene.objects))]
        assert scene.owner.shape == (height, width) and scene.owner.max(initial=0) == len(scene.objects)
        # A pixel shows one object or none.
        assert (sum(mask.astype(int) for mask in masks) == (scene.owner > 0)).all()
        for k, (thing, mask) in enumerate(zip(scene.objects, masks)):
            x1, y1, x2, y2 = thing.box
            assert mask[y1 : y2 + 1, x1 : x2 + 1].sum() == mask.sum() > 0
            in_front = any(_meet(thing.box, other.box) for other in scene.objects[k + 1 :])
            overlapped += in_front and tight(mask) != thing.box
            if not in_front and x1 > 0 and y1 > 0 and x2 < width - 1 and y2 < height - 1:
                assert tight(mask) == thing.box
    assert overlapped


def _meet(a, b):
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def test_a_mask_is_where_its_object_was_painted():
    rng, canvas = np.random.default_rng(3), np.zeros((64, 64, 3), np.float32)
    owner, areas = np.zeros((64, 64), np.int16), []
    for paint in (1, 2):
        disc = np.hypot(*np.mgrid[-15:16, -15:16]) < 15
        box = place(rng, canvas, owner, areas, disc.astype(np.float32), lambda paint=paint: np.full((31, 31, 3), paint))
        assert box is not None
    scene = Scene(canvas, (), owner)
    for k in range(2):
        assert (scene.mask(k) == (canvas[..., 0] == k + 1)).all() and scene.mask(k).any()


def test_objects_differ_from_their_background():
    # Without other objects, clutter or noise around it the box of a lone solid object is where the picture changes.
    for index in range(200):
        scene = render_scene(8, index)
        if len(scene.objects) == 1 and scene.objects[0].pattern == "solid" and scene.objects[0].shape == "circle":
            x1, y1, x2, y2 = scene.objects[0].box
            middle = scene.image[(y1 + y2) // 2, (x1 + x2) // 2].astype(int)
            # Palette colours are saturated, dull backgrounds are not.
            assert middle.max() - middle.min() > 50
            return
    pytest.fail("no scene with a single solid circle")


def test_scenes_of_any_size():
    assert render_scene(7, 0, width=192, height=128).image.shape == (128, 192, 3)


def test_a_phrase_means_all_objects_that_match():
    things = (
        SceneObject("square", "blue", "solid", "small", (0, 0, 9, 9)),
        SceneObject("square", "blue", "striped", "large", (20, 0, 99, 79)),
        SceneObject("star", "blue", "solid", "small", (0, 90, 30, 120)),
    )
    assert [Query(shape="square", colour="blue").matches(thing) for thing in things] == [True, True, False]
    assert [Query(colour="blue", pattern="solid").matches(thing) for thing in things] == [True, False, True]
    assert [Query(foreign="dog", colour="blue").matches(thing) for thing in things] == [False] * 3
    assert [Query().matches(thing) for thing in things] == [True] * 3


def test_prompts_speak_of_their_scene_and_never_of_held_out_combinations(scenes):
    tokenizer = build_tokenizer(nano_vocabulary())
    negatives = 0
    for index, scene in enumerate(scenes):
        prompt = sample_prompt(np.random.default_rng(index), scene, simple=0.2)
        encoding = tokenizer.encode(prompt.text)
        assert len(prompt.spans) == len(prompt.targets) > 0
        for (begin, end), targets in zip(prompt.spans, prompt.targets):
            phrase = prompt.text[begin:end]
            assert phrase == phrase.strip() != ""
            phrase_tokens(encoding, begin, end)
            negatives += not targets
            for colour in COLOURS:
                if colour in phrase.split():
                    assert all(scene.objects[i].colour == colour for i in targets)
            for colour, shape in HELD_OUT:
                assert not {colour, shape} <= set(phrase.split())
    assert negatives > 20


def test_collate_marks_the_tokens_of_each_object():
    tokenizer = build_tokenizer(nano_vocabulary())
    things = (
        SceneObject("star", "red", "solid", "small", (1, 2, 30, 31)),
        SceneObject("ring", "blue", "solid", "small", (40, 40, 63, 63)),
    )
    scene = Scene(np.zeros((64, 80, 3), np.uint8), things)
    prompt = ScenePrompt("red star. star", ((0, 8), (10, 14)), ((0,), (0,)))
    batch = collate([scene], [prompt], tokenizer)
    # [CLS] red star . star [SEP]; the ring is not asked for, so it is background.
    assert batch.targets.tokens[0].tolist() == [[False, True, True, False, True, False], [False] * 6]
    assert batch.targets.valid.tolist() == [[True, False]]
    assert batch.targets.boxes[0, 0].tolist() == [1, 2, 30, 31]
    # Width 80 is padded to 96 with zeros, after normalising.
    assert batch.pixels.shape == (1, 3, 64, 96)
    assert (batch.pixels[..., 80:] == 0).all() and (batch.pixels[..., :80] != 0).all()


def test_batches_are_reproducible_and_ranks_see_different_scenes():
    tokenizer = build_tokenizer(nano_vocabulary())
    load = lambda rank: SceneBatches(tokenizer, seed=1, size=2, rank=rank, ranks=2).load(5, 64)
    first, again, other = load(0), load(0), load(1)
    assert (first.pixels == again.pixels).all() and (first.input_ids == again.input_ids).all()
    assert first.pixels.shape == other.pixels.shape and (first.pixels != other.pixels).any()
