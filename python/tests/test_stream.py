"""The order of training, prompts and batches of grounding files."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from glip_torch.data import files
from glip_torch.data.__main__ import main
from glip_torch.data.files import GroundingWriter
from glip_torch.data.grounding import Category, DataError, Header, Phrase, Place, Record
from glip_torch.data.grounding_batches import GroundingBatches, ImageOptions, SkipReport, mirror
from glip_torch.data.grounding_prompts import PromptMaker, PromptOptions
from glip_torch.data.stream import GroundingData
from glip_torch.postprocess import to_edges, to_inclusive
from glip_torch.tokenizer import build_tokenizer, nano_vocabulary, phrase_tokens

PLACE = Place(Path("train.jsonl"), 7)
HEADER = Header(
    tuple(f"{colour} {shape}" for colour in ("red", "blue", "green") for shape in ("star", "ring", "heart"))
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(nano_vocabulary())


def numbered(path, numbers):
    with GroundingWriter(path) as writer:
        for number in numbers:
            writer.write(Record(f"{number}.png", 8, 8, categories=(Category("cat"),)))
    return path


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Two files of 103 and 20 records, in blocks of 10."""
    monkeypatch.setattr(files, "BLOCK_RECORDS", 10)
    return [numbered(tmp_path / "a.jsonl", range(103)), numbered(tmp_path / "b.jsonl", range(200, 220))]


def names(data, positions):
    return [data.at(position)[0].record().image for position in positions]


@pytest.mark.parametrize("buffer", [1, 25, 10_000])
def test_an_epoch_has_every_record_once_in_an_order_of_its_own(many, buffer):
    data = GroundingData(many, seed=1, buffer=buffer)
    assert data.records == 123
    first, second = names(data, range(123)), names(data, range(123, 246))
    assert Counter(first) == Counter(second) == Counter(f"{n}.png" for n in (*range(103), *range(200, 220)))
    assert first != second and first != sorted(first)
    # Records of both files lie among one another.
    places = [place for place, name in enumerate(first) if len(name) == 7 and name[0] == "2"]
    assert max(places) - min(places) > 20


def test_the_order_depends_on_the_seed_alone(many):
    order = lambda seed: names(GroundingData(many, seed, buffer=25), range(130))
    assert order(1) == order(1) != order(2)


def test_any_position_is_found_at_once(many):
    data = GroundingData(many, seed=1, buffer=25)
    whole = names(data, range(300))
    fresh = GroundingData(many, seed=1, buffer=25)
    assert names(fresh, [299, 5, 123, 122, 77]) == [whole[n] for n in (299, 5, 123, 122, 77)]


def test_few_records_are_in_memory(many):
    data = GroundingData(many, seed=1, buffer=25)
    for position in range(300):
        data.at(position)
        assert sum(map(len, data._groups.values())) <= 2 * 25


def test_a_file_given_twice_is_seen_twice(many):
    data = GroundingData([many[0], many[1], many[1]], seed=1)
    assert Counter(Counter(names(data, range(data.records))).values()) == {1: 103, 2: 20}


def test_files_without_records_are_an_error(tmp_path):
    with pytest.raises(DataError, match="there are no records in .*a.jsonl"):
        GroundingData([numbered(tmp_path / "a.jsonl", [])], seed=1)


# --- prompts --------------------------------------------------------------------------------------------------------


def detection(*present):
    return Record("x.png", 64, 64, categories=tuple(Category(name, ((1.0, 1.0, 9.0, 9.0),)) for name in present))


def phrases_of(prompt):
    return {prompt.text[begin:end] for spans, _ in prompt.positives for begin, end in spans}


def test_detection_prompts_name_all_that_is_there_and_some_that_is_not(tokenizer):
    maker = PromptMaker(tokenizer, PromptOptions(negatives=4))
    counts, texts = Counter(), set()
    for seed in range(60):
        prompt = maker.make(np.random.default_rng(seed), detection("red star", "blue_ring"), HEADER, PLACE)
        named = prompt.text.split(". ")
        assert phrases_of(prompt) == {"red star", "blue ring"} < set(named) | {""}
        assert set(named) <= set(HEADER.categories) and len(set(named)) == len(named)
        counts[len(named) - 2] += 1
        texts.add(prompt.text)
    assert max(counts) == 4 and len(counts) > 2 and len(texts) > 30
    assert {text.split(". ")[0] in ("red star", "blue ring") for text in texts} == {True, False}


def test_as_many_names_as_there_are_tokens(tokenizer):
    # [CLS] and [SEP], then three tokens a name with its full stop.
    maker = PromptMaker(tokenizer, PromptOptions(max_tokens=2 + 3 * 4, full_share=1.0))
    prompt = maker.make(np.random.default_rng(0), detection("red star"), HEADER, PLACE)
    assert len(prompt.text.split(". ")) == 4 and "red star" in prompt.text
    crowded = maker.make(np.random.default_rng(0), detection(*HEADER.categories), HEADER, PLACE)
    assert len(crowded.text.split(". ")) == len(crowded.positives) == 4


def test_absent_categories_that_were_looked_for(tokenizer):
    record = Record("x.png", 64, 64, categories=(*detection("red star").categories, Category("green heart")))
    maker = PromptMaker(tokenizer, PromptOptions(verified_only=True))
    prompt = maker.make(np.random.default_rng(0), record, HEADER, PLACE)
    assert sorted(prompt.text.split(". ")) == ["green heart", "red star"]


def test_names_that_are_said_alike_are_one(tokenizer):
    record = detection("star_(shape)", "star")
    prompt = PromptMaker(tokenizer).make(np.random.default_rng(0), record, Header(("star_(actor)",)), PLACE)
    assert prompt.text == "star" and len(prompt.positives[0][1]) == 2


def test_caption_prompts_are_the_text(tokenizer):
    box = (1.0, 1.0, 9.0, 9.0)
    record = Record(
        "x.png", 64, 64, text="a red star near a ring", phrases=(Phrase(((2, 5), (6, 10)), (box,)), Phrase(((18, 22),)))
    )
    prompt = PromptMaker(tokenizer).make(np.random.default_rng(0), record, Header(), PLACE)
    assert prompt.text == record.text and prompt.positives == ((((2, 5), (6, 10)), (box,)),)


@pytest.mark.parametrize(
    "record, options, message",
    [
        (Record("x", 9, 9, text="a red star near a ring"), PromptOptions(max_tokens=7), "has 8 tokens, the model takes 7"),
        (Record("x", 9, 9, categories=()), PromptOptions(), "no category to ask for"),
        (detection("red star"), PromptOptions(max_tokens=4), "alone has more than"),
        (detection("(red star)"), PromptOptions(), "nothing is left of the category name"),
        (Record("x", 9, 9, text="a \u200d star", phrases=(Phrase(((2, 3),), ((0.0, 0.0, 1.0, 1.0),)),)), PromptOptions(), "have no token"),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be(tokenizer, record, options, message):
    with pytest.raises(DataError, match=message) as error:
        PromptMaker(tokenizer, options).make(np.random.default_rng(0), record, Header(), PLACE)
    assert str(error.value).startswith("train.jsonl, line 7: ")


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    main(["scenes", str(tmp_path), "--count", "7", "--side", "64"])
    return tmp_path / "detection.jsonl"


IMAGES = ImageOptions(short_sides=(64,), long_side=128)


def same(one, other):
    for name in ("pixels", "input_ids", "attention_mask"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name, tensor in vars(one.targets).items():
        assert torch.equal(tensor, getattr(other.targets, name))
    assert one.names == other.names


def test_a_batch_depends_on_its_number_alone(scenes, tokenizer):
    batches = GroundingBatches([scenes], tokenizer, seed=1, size=2, images=IMAGES)
    again = GroundingBatches([scenes], tokenizer, seed=1, size=2, images=IMAGES)
    in_order = [batches[index] for index in range(5)]
    for index in (4, 0, 3):
        same(again[index], in_order[index])


def test_workers_and_shards_give_the_same_batches(scenes, tokenizer):
    batches = GroundingBatches([scenes], tokenizer, seed=1, size=2, images=IMAGES)
    loader = torch.utils.data.DataLoader(
        batches, batch_size=None, sampler=range(3, 7), num_workers=2, multiprocessing_context="fork"
    )
    for index, loaded in enumerate(loader, 3):
        same(loaded, batches[index])


def test_ranks_share_the_batch_of_one_process(scenes, tokenizer):
    whole = GroundingBatches([scenes], tokenizer, seed=1, size=4, images=IMAGES)
    ranks = [GroundingBatches([scenes], tokenizer, 1, 2, rank, 2, images=IMAGES) for rank in (0, 1)]
    accumulated = GroundingBatches([scenes], tokenizer, seed=1, size=2, step_batches=2, images=IMAGES)
    for index in range(4):
        parts = [batches[index] for batches in ranks]
        assert parts[0].names + parts[1].names == whole[index].names
        assert torch.equal(torch.cat([part.pixels for part in parts]), whole[index].pixels)
        assert accumulated[2 * index].names + accumulated[2 * index + 1].names == whole[index].names


def test_boxes_mean_their_words_in_the_resized_image(scenes, tokenizer):
    big = ImageOptions(short_sides=(96,), long_side=200, flip=0.0)
    batch = GroundingBatches([scenes], tokenizer, seed=1, size=3, images=big)[0]
    assert batch.pixels.shape == (3, 3, 96, 96)
    records = {f"{scenes}, line {n}": json.loads(text) for n, text in enumerate(scenes.read_text().splitlines(), 1)}
    for n, name in enumerate(batch.names):
        words = [nano_vocabulary()[index] for index in batch.input_ids[n]]
        # Targets are inclusive in the picture before it was resized, as official's.
        last = torch.tensor([0.0, 0.0, 1.5, 1.5])
        found = sorted(
            (" ".join(words[t] for t in tokens.nonzero()[:, 0]), [edge / 1.5 for edge in (box + last).tolist()])
            for box, tokens, valid in zip(batch.targets.boxes[n], batch.targets.tokens[n], batch.targets.valid[n])
            if valid
        )
        expected = sorted((c["name"], box) for c in records[name]["categories"] for box in c["boxes"])
        assert [words for words, _ in found] == [words for words, _ in expected]
        assert np.allclose([box for _, box in found], [box for _, box in expected])


def test_targets_of_version_1_are_those_of_the_same_boxes_by_their_edges(tmp_path, scenes, tokenizer):
    header, *records = map(json.loads, scenes.read_text().splitlines())
    for category in (category for record in records for category in record["categories"]):
        category["boxes"] = [[x1, y1, x2 - 1, y2 - 1] for x1, y1, x2, y2 in category["boxes"]]
    lines = [header | {"format_version": 1}, *records]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    old, new = (
        GroundingBatches([path], tokenizer, 1, 7, images=IMAGES)[0].targets for path in (tmp_path / "old.jsonl", scenes)
    )
    for name, tensor in vars(new).items():
        assert torch.equal(getattr(old, name), tensor)


def test_what_is_thinner_than_a_pixel_is_trained_on_as_a_pixel():
    boxes = torch.tensor([[1.0, 2.0, 4.0, 6.5], [1.5, 2.0, 1.75, 2.0]])
    assert to_inclusive(boxes).tolist() == [[1.0, 2.0, 3.0, 5.5], [1.5, 2.0, 1.5, 2.0]]
    assert to_edges(to_inclusive(boxes))[0].tolist() == boxes[0].tolist()


def test_mirrored_images_have_mirrored_boxes(scenes, tokenizer):
    plain, flipped = (
        GroundingBatches([scenes], tokenizer, 1, 1, images=ImageOptions((64,), 128, flip))[0] for flip in (0.0, 1.0)
    )
    assert torch.equal(flipped.pixels, plain.pixels.flip(3))
    assert torch.equal(mirror(flipped.targets.boxes[0], 64), plain.targets.boxes[0])
    # The last column belongs to a box: the leftmost pixel becomes the rightmost.
    assert mirror(torch.tensor([[0.0, 1.0, 0.0, 2.0]]), 64).tolist() == [[63.0, 1.0, 63.0, 2.0]]


def test_what_says_left_is_not_mirrored(tmp_path, tokenizer, scenes):
    text = "a star on the left."
    content = scenes.read_text().splitlines()
    record = json.loads(content[1])
    del record["categories"]
    (tmp_path / "left.jsonl").write_text("\n".join([content[0], json.dumps(record | {"text": text, "phrases": []})]))
    load = lambda flip: GroundingBatches(
        [tmp_path / "left.jsonl"], tokenizer, 1, 1, images=ImageOptions((64,), 128, flip)
    )[0]
    assert torch.equal(load(1.0).pixels, load(0.0).pixels)


def test_what_is_broken_is_skipped_and_reported(scenes, tokenizer, tmp_path):
    lines = scenes.read_text().splitlines()
    (tmp_path / json.loads(lines[2])["image"]).write_bytes(b"no image")
    scenes.write_text("\n".join([*lines[:5], '{"image": ', *lines[5:]]))
    batches = GroundingBatches([scenes], tokenizer, seed=1, size=2, images=IMAGES)
    report = SkipReport(tmp_path / "skipped.jsonl")
    seen = set()
    for index in range(12):
        batch = batches[index]
        assert len(batch.names) == 2
        seen |= set(batch.names)
        for skipped in batch.skipped:
            report.add(skipped)
    assert len(seen) == 6 and report.count == 2
    reported = {entry["line"]: entry["reason"] for entry in map(json.loads, report.path.read_text().splitlines())}
    assert set(reported) == {3, 6}
    assert SkipReport(report.path).count == 2
    assert "cannot be decoded" in reported[3] and "not JSON" in reported[6]


def test_nothing_but_broken_records_is_an_error(tmp_path, tokenizer):
    path = numbered(tmp_path / "a.jsonl", range(3))
    with pytest.raises(DataError, match="100 records in a row cannot be used"):
        GroundingBatches([path], tokenizer, seed=1, size=1, images=IMAGES)[0]


def test_phrases_of_several_spans_mark_all_their_tokens(tmp_path, tokenizer, scenes):
    content = scenes.read_text().splitlines()
    record = json.loads(content[1])
    del record["categories"]
    caption = record | {"text": "star that is red", "phrases": [{"spans": [[0, 4], [13, 16]], "boxes": [[1, 1, 9, 9]]}]}
    (tmp_path / "caption.jsonl").write_text("\n".join([content[0], json.dumps(caption)]))
    batch = GroundingBatches([tmp_path / "caption.jsonl"], tokenizer, 1, 1, images=IMAGES)[0]
    assert batch.targets.tokens[0, 0].nonzero()[:, 0].tolist() == [1, 4]
    assert phrase_tokens(tokenizer.encode(caption["text"]), 13, 16) == range(4, 5)
