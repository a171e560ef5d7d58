"""What words mean: WordNet's nouns and COCO's names, the map of meanings, the student, and labels in other words."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from glip_torch.config import TextConfig
from glip_torch.data.__main__ import main
from glip_torch.data.convert.reword import RewordedSource, Rewording, wording
from glip_torch.data.files import read_records
from glip_torch.data.grounding import Category, Record
from glip_torch.head import GroundingHead
from glip_torch.text_encoder import TextEncoder
from glip_torch.tokenizer import SPECIAL_TOKENS, build_tokenizer
from glip_torch.words import student, wordnet
from glip_torch.words.coco_names import CLASSES, GROUPS, HELD_OUT, THINGS, group
from glip_torch.words.phrases import framed, sentence
from glip_torch.words.student import Lessons, Student, StudentSettings, boundaries, choose_vocabulary, teach
from glip_torch.words.teacher import MapSettings, SeenLocations, logits_at, train_map
from glip_torch.words.wordnet import NamedMeaning, Nouns, class_names, is_held_out, plural

# WordNet's layout: offset, file, kind, count of lemmas (hexadecimal), lemmas, count of pointers, pointers | gloss.
DATA = """  1 licence
00000000 03 n 01 physical_entity 0 000 | can be touched
00000001 03 n 01 thing 0 001 @ 00000000 n 0000 | anything
00000002 05 n 01 animal 0 001 @ 00000001 n 0000 | lives
00000003 05 n 02 dog 0 domestic_dog 0 001 @ 00000002 n 0000 | barks
00000004 05 n 01 beagle 0 001 @ 00000003 n 0000 | a dog
00000005 06 n 01 piano 0 001 @ 00000001 n 0000 | plays
00000006 05 n 01 puppy 0 001 @ 00000003 n 0000 | a small dog
00000007 06 n 01 beagle 0 001 @ 00000001 n 0000 | a ship
"""
INDEX = """  1 licence
physical_entity n 1 1 ~ 1 0 00000000
thing n 1 1 ~ 1 0 00000001
animal n 1 2 @ ~ 1 0 00000002
dog n 1 2 @ ~ 1 0 00000003
domestic_dog n 1 1 @ 1 1 00000003
beagle n 2 1 @ 2 0 00000004 00000007
hms_beagle n 2 1 @ 2 0 00000007 00000004
piano n 1 1 @ 1 0 00000005
puppy n 1 1 @ 1 0 00000006
"""


@pytest.fixture
def nouns(tmp_path, monkeypatch):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    dog = next(thing for thing in THINGS if thing.name == "dog")
    monkeypatch.setattr(wordnet, "THINGS", [dog])
    monkeypatch.setattr(wordnet, "CLASSES", ["dog"])
    monkeypatch.setattr(wordnet, "GROUPS", {})
    return Nouns(tmp_path)


def test_a_noun_means_the_class_that_it_is_a_kind_of(nouns):
    meanings = {meaning.text: meaning.classes for meaning in wordnet.all_meanings(nouns)}
    assert meanings["beagle"] == meanings["domestic dog"] == meanings["dog"] == meanings["hounds"] == (0,)
    assert meanings["piano"] == ()
    assert meanings["animal"] is meanings["thing"] is None, "what stands above a class is not absent where that is"
    assert meanings["hms beagle"] is None, "a class by a lesser sense"
    assert meanings["puppy"] is None, "held out"


def test_words_for_things_and_words_that_texts_use_are_told_apart(nouns):
    meanings = {meaning.text: meaning for meaning in nouns.meanings()}
    assert all(meanings[text].is_thing for text in ("dog", "piano", "thing"))
    assert [text for text, meaning in meanings.items() if meaning.is_used] == ["domestic dog"]


def test_nonsense_means_nothing_and_is_the_same_each_time():
    words = wordnet.nonsense(50)
    assert words == wordnet.nonsense(50) and len(words) > 45
    assert all(meaning.classes == () and meaning.text.isalpha() for meaning in words)


def test_held_out_words_are_in_no_list():
    assert len(HELD_OUT) == 25
    for thing in THINGS:
        assert not any(is_held_out(text) for text in (thing.name, thing.plural, *thing.synonyms)), thing.name
    assert not any(is_held_out(word) for word in GROUPS)
    assert is_held_out("a mug") and is_held_out("two mugs") and not is_held_out("smug")


def test_names_and_groups_are_those_of_the_classes():
    assert len(CLASSES) == len(set(CLASSES)) == 80
    assert all(name in CLASSES for word in GROUPS for name in group(word))
    named = {meaning.text: meaning.classes for meaning in class_names()}
    assert named["people"] == (CLASSES.index("person"),)
    assert set(named["vehicles"]) == {CLASSES.index(name) for name in group("vehicle")}


def test_plurals():
    assert [plural(word) for word in ("dog", "bus", "pony", "toy", "bench")] == [
        "dogs",
        "buses",
        "ponies",
        "toys",
        "benches",
    ]


def test_texts_say_where_their_names_are():
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = framed(rng, "wine glass", 3)
        assert "wine glass" in text.text and text.names == (((0, len(text.text)), 3),)
        text = sentence(rng, [("dog", 1), ("park bench", 2)])
        assert [text.text[begin:end] for (begin, end), _ in text.names] == ["dog", "park bench"]


# --- teacher and student -------------------------------------------------------------------------------------------

MEANINGS = [
    NamedMeaning("dog", (0,)), NamedMeaning("red cat", (1,)), NamedMeaning("animal", (0, 1)), NamedMeaning("beagle", (0,)),
    NamedMeaning("piano", ()), NamedMeaning("sofa", None),
]  # fmt: skip
NAMES = 3


def seen_locations():
    """Half of the locations hold class 0, the other half class 1."""
    classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(20, 1)
    return SeenLocations(torch.cat([4 * classes - 2, torch.ones(40, 1)], dim=1), classes)


def places():
    torch.manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(len(MEANINGS), 8), dim=1)


def test_the_map_learns_what_words_mean_and_answers_for_others():
    seen, embeddings = seen_locations(), places()
    embeddings[5] = embeddings[0]  # the sofa is placed with the dog
    model = train_map(MEANINGS, NAMES, embeddings, seen, MapSettings(steps=300, texts=32, locations=16, noise=0.01))
    with torch.no_grad():
        found = logits_at(model(embeddings), seen.features[:2]).sigmoid()
    expected = torch.tensor([[1, 0], [0, 1], [1, 1], [1, 0], [0, 0], [1, 0]])
    torch.testing.assert_close(found.round().long(), expected)


def test_a_student_learns_them_too(tmp_path):
    vocabulary = [*SPECIAL_TOKENS, ".", *"dog red cat animal beagle piano sofa a the".split()]
    config = TextConfig(len(vocabulary), 64, 2, 1, 64, 64, boundaries(vocabulary))
    seen, embeddings = seen_locations(), places()
    answers = torch.zeros(len(MEANINGS), 4)
    answers[:, -1] = -9
    torch.manual_seed(0)
    learner = Student(TextEncoder(config), GroundingHead(6, 64, levels=3), embeddings.shape[1])
    lessons = Lessons(MEANINGS, NAMES, embeddings, answers, seen, np.full(len(MEANINGS), 1 / len(MEANINGS)))
    settings = StudentSettings(steps=200, texts=24, locations=16, warm_up=10, sentences=0.3, learning_rate=5e-3)
    teach(learner, build_tokenizer(vocabulary), lessons, settings, tmp_path / "log.jsonl")
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["meaning"] < 0.5 * log[0]["meaning"] or log[-1]["meaning"] < 0.05
    ids = torch.tensor([build_tokenizer(vocabulary).encode("dog. piano. red cat").ids])
    with torch.no_grad():
        hidden, _ = learner.text_encoder(ids, torch.ones_like(ids))
        queries, bias = learner.head.queries(hidden)
        found = (queries[0, :, :3] @ seen.features[:2].T + bias[0, :, None]).sigmoid().round().tolist()
    assert [found[1], found[3], found[5], found[6]] == [[1, 0], [0, 0], [0, 1], [0, 1]]


def test_the_vocabulary_can_say_all_names_and_spell_the_rest():
    words = [
        *SPECIAL_TOKENS,
        *"abcdefghijklmnopqrstuvwxyz0123456789",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
    ]
    words += [
        ".",
        ",",
        "'",
        "-",
        "dog",
        "red",
        "cat",
        "animal",
        "beagle",
        "piano",
        "sofa",
        "##s",
        "zebra",
        "the",
        "photo",
    ]
    tokenizer: Tokenizer = build_tokenizer(dict.fromkeys(words))
    chosen = choose_vocabulary(MEANINGS, NAMES, tokenizer, len(set(words)) - 1)
    assert chosen[: len(SPECIAL_TOKENS)] == list(SPECIAL_TOKENS)
    assert {"dog", "red", "cat", "animal", "photo", "the", "q", "##q", "."} <= set(chosen)
    assert "beagle" in chosen and "zebra" not in chosen, "what no noun has comes last"
    assert student.boundaries(chosen) == tuple(chosen.index(token) for token in ("[CLS]", "[SEP]", "."))


# --- labels in other words -----------------------------------------------------------------------------------------


def test_reworded_labels_keep_their_boxes(tmp_path):
    lines = [
        {"format": "glip-grounding", "format_version": 2, "categories": []},
        {
            "image": "1.jpg", "width": 40, "height": 30,
            "categories": [
                {"name": "dog", "boxes": [[1, 2, 9, 9]], "scores": [0.3]},
                {"name": "wine glass", "boxes": [[3, 3, 8, 8], [1, 1, 5, 5]]},
            ],
        },
        {"image": "2.jpg", "width": 40, "height": 30, "categories": [{"name": "piano", "boxes": []}]},
    ]  # fmt: skip
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out.jsonl"
    main(["reword", str(tmp_path / "in.jsonl"), "--out", str(out), "--copies", "60", "--complete", "all"])
    records = list(read_records(out))
    assert len(records) == 60, "the record whose categories are not COCO's is left out"
    sentences = [record for record in records if record.text is not None]
    assert 2 < len(sentences) < 30
    for record in records:
        named = record.phrases if record.text is not None else record.categories
        found = sorted((entry.boxes, entry.scores) for entry in named if entry.boxes)
        assert set(found) <= {(((1, 2, 9, 9),), (0.3,)), (((3, 3, 8, 8), (1, 1, 5, 5)), None)}
        assert len(found) == 2 or record.text is not None or len(record.categories) == 1
    full = max(records, key=lambda record: len(record.categories))
    assert len(full.categories) > 75, "absent classes are said to be absent"
    assert len({category.name for record in records for category in record.categories if category.boxes}) > 10


def test_only_what_was_looked_for_is_absent(tmp_path):
    source = RewordedSource([], tmp_path, Rewording(complete=frozenset({"person"}), sentences=0), ["piano"])
    rng = np.random.default_rng(0)
    record = Record("1.jpg", 40, 30, categories=(Category("dog", ((1.0, 2.0, 9.0, 9.0),)),))
    known = {text for thing in THINGS if thing.name == "person" for text in (thing.name, thing.plural, *thing.synonyms)}
    known |= {plural(text) for text in known}
    for _ in range(50):
        absent = [category.name for category in source.reworded(rng, record).categories if not category.boxes]
        assert all(name == "piano" or any(f" {text} " in f" {name} " for text in known) for name in absent), absent


def test_wordings_are_those_of_the_class():
    rng = np.random.default_rng(0)
    said = {wording(rng, "couch") for _ in range(200)}
    assert {"couch", "couches", "settee"} <= said and "sofa" not in said
