"""A teacher that labels captions: phrases, boxes, parts, and what is left out."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_golden import assert_same_detections

from glip_torch.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from glip_torch.config import Recommended
from glip_torch.data.__main__ import main as data_command
from glip_torch.data.convert.screen import Screening
from glip_torch.data.files import GroundingWriter, read_records
from glip_torch.data.grounding import Phrase, Record
from glip_torch.postprocess import Detections, to_inclusive
from glip_torch.teach import load_teacher, main, parse_arguments, teach
from glip_torch.teaching import TeachingError, noun_phrases
from glip_torch.teaching.teacher import Teacher, TeacherOptions, UnusableText
from glip_torch.tokenizer import build_tokenizer

GOLDEN = Path(__file__).parent / "golden"
MODEL, VOCABULARY = GOLDEN / "glip_t_small" / "model.pth", GOLDEN / "vocab.txt"
TAGGER = Path(__file__).parents[2] / "tests" / "fixtures" / "perceptron"
#: Of random weights: low enough for some boxes to pass.
SCORE = 0.1


@pytest.fixture(scope="module")
def model():
    return load_checkpoint(MODEL, text_heads=4)


@pytest.fixture(scope="module")
def case():
    (case,) = (c for c in json.loads((GOLDEN / "glip_t_small" / "cases.json").read_text()) if c["name"] == "caption")
    return case


# --- the teacher ----------------------------------------------------------------------------------------------------


def test_labels_are_what_official_finds_in_the_caption(model, case):
    options = TeacherOptions(case["min_size"], case["max_size"])
    teacher = Teacher(model, build_tokenizer(VOCABULARY), options)
    spans = [(tuple(span),) for span in case["phrase_spans"]]
    image = Image.open(GOLDEN / "glip_t_small" / case["image"]).convert("RGB")
    phrases = teacher.label(image, case["caption"], spans)
    assert [phrase.spans for phrase in phrases] == spans
    found = [(box, score, n) for n, p in enumerate(phrases) for box, score in zip(p.boxes, p.scores)]
    golden = np.load(GOLDEN / "glip_t_small" / "caption.npz")
    boxes, scores, labels = (torch.tensor(values) for values in zip(*found))
    assert_same_detections(Detections(to_inclusive(boxes), scores, labels), golden)


def test_what_the_model_cannot_be_asked(model):
    teacher = Teacher(model, build_tokenizer(VOCABULARY), TeacherOptions(64, 64, max_tokens=6))
    image = Image.new("RGB", (64, 64))
    with pytest.raises(UnusableText, match="the text has 7 tokens, the model takes 6"):
        teacher.label(image, "a person on the floor", [((0, 8),)])
    # A span of spaces has no token; a phrase of two spans has those of both.
    (phrase,) = teacher.label(image, "a    person", [((2, 3),), ((0, 1), (5, 11))])
    assert phrase.spans == ((0, 1), (5, 11))


# --- noun phrases ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tagged, phrases",
    [
        ("a/DT small/JJ red/JJ cup/NN on/IN tables/NNS", ["a small red cup", "tables"]),
        ("the/DT best/JJS traffic/NN light/NN", ["the best traffic light"]),
        ("two/CD dogs/NNS that/WDT run/VBP", ["dogs"]),
        ("a/DT very/RB red/JJ cup/NN", ["red cup"]),
        # A determiner is one of a phrase; adjectives alone are none.
        ("all/DT the/DT cups/NNS are/VBP red/JJ", ["the cups"]),
        ("his/PRP$ cup/NN", ["cup"]),
        ("", []),
    ],
)
def test_the_grammar_of_noun_phrases(tagged, phrases):
    words = [pair.rsplit("/", 1) for pair in tagged.split()]
    text = " ".join(word for word, _ in words)
    begins = np.cumsum([0, *(len(word) + 1 for word, _ in words)])
    tags = [(tag, (begin, begin + len(word))) for (word, tag), begin in zip(words, begins)]
    assert [text[begin:end] for begin, end in noun_phrases.noun_phrases(tags)] == phrases


@pytest.fixture
def nltk_with_tagger(tmp_path, monkeypatch):
    """NLTK with a small tagger that lies here for tests."""
    nltk = pytest.importorskip("nltk")
    shutil.copytree(TAGGER, tmp_path / "taggers" / "averaged_perceptron_tagger_eng")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    noun_phrases._tagger.cache_clear()
    yield
    noun_phrases._tagger.cache_clear()


def test_phrases_are_found_with_nltk(nltk_with_tagger):
    caption = "İ! A man in a red shirt.\nThe dog's owner wears a Blue hat…"
    found = [caption[begin:end] for begin, end in noun_phrases.find_noun_phrases(caption)]
    assert {"A man", "a red shirt", "The dog"} <= set(found) and all(text.strip() == text for text in found)
    assert noun_phrases.find_noun_phrases("") == []


def test_nltk_that_is_missing_is_said(monkeypatch):
    noun_phrases._tagger.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "nltk", None)
    with pytest.raises(TeachingError, match=r"pip install 'glip-torch\[captions\]', or give the phrases' spans"):
        noun_phrases.find_noun_phrases("a dog")


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def captions(tmp_path, case):
    """Three good captions among two bad records, and a picture that cannot be read."""
    shutil.copy(GOLDEN / "glip_t_small" / case["image"], tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    width, height = Image.open(tmp_path / "good.png").size
    good = Record("good.png", width, height, text=case["caption"])
    phrases = tuple(Phrase((tuple(span),)) for span in case["phrase_spans"])
    with GroundingWriter(tmp_path / "captions.jsonl") as writer:
        for record in (
            replace(good, phrases=phrases),
            replace(good, phrases=phrases[:1]),
            replace(good, image="bad.png", phrases=phrases),
            replace(good, text=None),
            replace(good, phrases=phrases[1:]),
        ):
            writer.write(record)
    return tmp_path / "captions.jsonl"


def options_for(captions, out, *more):
    size = ["--short-side", "96", "--long-side", "160"]
    return [
        str(MODEL),
        str(out),
        "--data",
        str(captions),
        "--vocab",
        str(VOCABULARY),
        "--text-heads",
        "4",
        *size,
        *more,
    ]


def test_a_teacher_sees_pictures_at_its_own_size_unless_told(tmp_path, model):
    own = copy.copy(model)
    own.recommended = Recommended(96, 160)
    save_checkpoint(own, tmp_path / "teacher.pth")

    def sizes(*options):
        asked = ["labels", "--data", "captions.jsonl", "--vocab", str(VOCABULARY), "--text-heads", "4", *options]
        return vars(load_teacher(parse_arguments([str(tmp_path / "teacher.pth"), *asked]))[0].options)

    assert (sizes()["short_side"], sizes()["long_side"]) == (96, 160)
    assert (sizes("--short-side", "64")["short_side"], sizes("--long-side", "99")["long_side"]) == (64, 99)


def test_captions_become_training_data(tmp_path, captions, model):
    out = tmp_path / "labels"
    told = teach(parse_arguments(options_for(captions, out, "--min-score", str(SCORE))))
    assert told.startswith(f"{out}: 1 of 1 parts labelled now, 3 records with ")
    assert "left out: 1 x record without a text, 1 x unusable image" in told
    (path,) = out.glob("*.jsonl")
    records = list(read_records(out))
    assert [record.image for record in records] == ["../good.png"] * 3
    assert {record.source for record in records} == {f"glip {fingerprint(model)[:12]}"}
    labels = [phrase for record in records for phrase in record.phrases]
    assert all(phrase.boxes and min(phrase.scores) > SCORE for phrase in labels)
    # The phrases are those that the records came with.
    assert len(records[1].phrases) == 1 and records[1].phrases[0].spans == records[0].phrases[0].spans
    report = [json.loads(line) for line in path.with_suffix(".report").read_text().splitlines()]
    assert [entry["what"] for entry in report] == [f"{captions}, line 4", f"{captions}, line 5"]
    assert "bad.png cannot be decoded" in report[0]["reason"]
    # And training reads them.
    data_command(["check", str(out)])


def test_sure_boxes_are_kept(captions, tmp_path):
    """Of scores, of overlap and of the number of boxes: `screen` does it, and its tests go into detail."""
    count = lambda name, *options: teach(parse_arguments(options_for(captions, tmp_path / name, *options)))
    loose = count("loose", "--min-score", str(SCORE))
    assert "0 records with 0 boxes" in count("sure", "--min-score", "0.99")
    assert "3 x too few boxes over the score" in count("many", "--min-score", str(SCORE), "--min-boxes", "1000")
    boxes = lambda told: int(told.split(" records with ")[1].split()[0])
    assert 0 < boxes(count("thin", "--min-score", str(SCORE), "--nms", "0.3")) < boxes(loose)
    assert Screening() == Screening(0.5, None, 1)


def test_a_run_goes_on_where_it_was_stopped(tmp_path, captions, monkeypatch):
    monkeypatch.setattr("glip_torch.data.files.BLOCK_RECORDS", 1)
    options = lambda out, *more: options_for(captions, out, "--min-score", str(SCORE), "--part", "1", *more)
    teach(parse_arguments(options(tmp_path / "whole")))
    label, calls = Teacher.label, []

    def stopping(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return label(self, *arguments)

    monkeypatch.setattr(Teacher, "label", stopping)
    with pytest.raises(KeyboardInterrupt):
        teach(parse_arguments(options(tmp_path / "stopped")))
    assert [path.name for path in (tmp_path / "stopped").glob("*.jsonl*")] == ["000-captions-000000.jsonl"]
    assert "4 of 5 parts labelled now" in teach(parse_arguments(options(tmp_path / "stopped")))
    # The first picture was labelled once; of the second the first try was stopped; two of the others cannot be used.
    assert len(calls) == 1 + 1 + 2
    read = lambda out: {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    assert read(tmp_path / "stopped") == read(tmp_path / "whole")
    # Three processes share the parts out.
    for share in ("1/3", "2/3", "3/3"):
        teach(parse_arguments(options(tmp_path / "shared", "--share", share)))
    assert read(tmp_path / "shared") == read(tmp_path / "whole")


def test_labels_of_another_run_are_left_alone(tmp_path, captions):
    out = tmp_path / "labels"
    teach(parse_arguments(options_for(captions, out, "--min-score", str(SCORE))))
    with pytest.raises(SystemExit, match=r"were made with min_score 0.1 \(now 0.2\): give the same again, or another"):
        main(options_for(captions, out, "--min-score", "0.2"))


@pytest.mark.parametrize(
    "change, message",
    [
        (["--vocab", "none.txt"], "the vocabulary none.txt does not exist: give the teacher's with --vocab"),
        (["--data", "captions.tar"], "captions.tar cannot be read"),
        (["--share", "3/2"], "2"),
    ],
)
def test_bad_options(tmp_path, captions, change, message):
    with pytest.raises(SystemExit, match=message):
        main([*options_for(captions, tmp_path / "labels"), *change])


def test_pairs_become_captions(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "pictures" / "1.png")
    (tmp_path / "pictures" / "2.png").write_bytes(b"\x89PNG and no more")
    lines = ['{"image": "1.png", "caption": " a dog ", "url": "x"}', '{"image": "2.png", "caption": "a cat"}']
    lines += ["a line", '{"image": "1.png", "caption": " "}', '{"image": "3.png", "caption": "a hat"}', "[1]"]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out" / "captions.jsonl"
    data_command(["pairs", str(tmp_path / "pairs.jsonl"), str(out), "--images", str(tmp_path / "pictures")])
    assert list(read_records(out)) == [Record("../pictures/1.png", 40, 30, text="a dog", source="pairs")]
    assert "left out: 3 x malformed pair, 2 x unusable image" in capsys.readouterr().out
    assert len(out.with_name("captions.jsonl.report").read_text().splitlines()) == 5
    with pytest.raises(SystemExit, match="none.jsonl does not exist"):
        data_command(["pairs", str(tmp_path / "none.jsonl"), str(out), "--images", str(tmp_path)])
