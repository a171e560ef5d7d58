"""The grounding format: what is written is read back, and each thing that can be wrong has its message."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glip_torch.data.files import GroundingWriter, JsonLines, ShardWriter, open_files, read_records
from glip_torch.data.grounding import (
    Category,
    DataError,
    Header,
    Phrase,
    Place,
    Record,
    parse_header,
    parse_record,
    record_line,
)

PLACE = Place(Path("train.jsonl"), 7)
DETECTION = Record(
    "images/1.png",
    64,
    48,
    categories=(
        Category("traffic light", ((1.0, 2.0, 30.5, 40.0), (0.0, 0.0, 64.0, 48.0)), (0.75, 0.5)),
        Category("cat"),
    ),
    source="coco",
)
CAPTION = Record(
    "images/2.png",
    64,
    48,
    text="Ein größerer Hund",
    phrases=(Phrase(((0, 3), (13, 17)), ((1.0, 2.0, 3.0, 4.0),)), Phrase(((4, 12),))),
)


def test_what_is_written_is_read_back(tmp_path):
    with GroundingWriter(tmp_path / "train.jsonl", Header(("traffic light", "cat"))) as writer:
        writer.write(DETECTION)
        writer.write(CAPTION)
    assert list(read_records(tmp_path / "train.jsonl")) == [DETECTION, CAPTION]
    assert JsonLines(tmp_path / "train.jsonl").header == Header(("traffic light", "cat"))


def test_spans_count_characters_not_bytes():
    begin, end = CAPTION.phrases[0].spans[1]
    assert CAPTION.text[begin:end] == "Hund"
    assert CAPTION.text.encode()[begin:end] != b"Hund"


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    with pytest.raises(KeyboardInterrupt), GroundingWriter(tmp_path / "train.jsonl") as writer:
        writer.write(DETECTION)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_that_could_not_be_read(tmp_path):
    with pytest.raises(DataError, match="leaves the image"):
        record_line(Record("a.png", 10, 10, categories=(Category("cat", ((0.0, 0.0, 99.0, 5.0),)),)))


def test_boxes_are_clipped_by_what_rounding_makes():
    record = parse_record(
        '{"image": "a", "width": 9, "height": 9, "categories": [{"name": "x", "boxes": [[-0.4, 0, 10, 9]]}]}', PLACE
    )
    assert record.categories[0].boxes == ((0.0, 0.0, 9.0, 9.0),)


def test_the_last_pixels_of_version_1_become_edges(tmp_path):
    text = categories({"name": "cat", "boxes": [[1, 2, 3, 4.5], [0, 0, 63, 47], [-0.4, 0, 63.9, 0]]})
    header = '{"format": "glip-grounding", "format_version": 1, "categories": ["cat"]}'
    (tmp_path / "old.jsonl").write_text(f"{header}\n{text}\n")
    (record,) = read_records(tmp_path / "old.jsonl")
    assert record.categories[0].boxes == ((1.0, 2.0, 4.0, 5.5), (0.0, 0.0, 64.0, 48.0), (0.0, 0.0, 64.0, 1.0))
    # What is written of it is of the newest version, in shards too.
    header = JsonLines(tmp_path / "old.jsonl").header
    with GroundingWriter(tmp_path / "new.jsonl", header) as writer, ShardWriter(tmp_path, header) as shards:
        writer.write(record)
        shards.write(record, png(8))
    assert '"format_version": 2' in (tmp_path / "new.jsonl").read_text()
    (again,), (packed,) = (read_records(tmp_path / name) for name in ("new.jsonl", "shard-000000.tar"))
    assert again == record and packed.categories == record.categories
    # A shard of version 1, as one that was made of it.
    with tarfile.open(tmp_path / "old.tar", "w:") as shard:
        for name, content in (
            ("header.json", (tmp_path / "old.jsonl").read_bytes().split(b"\n")[0]),
            ("0.json", text.encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    (old,) = read_records(tmp_path / "old.tar")
    assert old.categories == record.categories


def line(**changes):
    content = {"image": "a.png", "width": 64, "height": 48, "text": "a cat", "phrases": []} | changes
    return json.dumps({name: value for name, value in content.items() if value is not ...})


def categories(*entries):
    return line(text=..., phrases=..., categories=list(entries))


def phrase(**changes):
    return line(phrases=[{"spans": [[2, 5]], "boxes": [[1, 2, 3, 4]]} | changes])


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"image": ', "not JSON"),
        ("[1, 2]", "a list, not an object"),
        (line(image=""), "give the path of the image"),
        (line(width=0), "width is 0"),
        (line(height=True), "height is True"),
        (line(source=3), "source is 3"),
        (line(categories=[]), "either a text or categories"),
        (line(text=..., phrases=...), "either a text or categories"),
        (line(text=..., categories=[]), "phrases belong to a text"),
        (line(text="  "), "at least one word"),
        (line(phrases=...), "phrases is None: give a list"),
        (line(phrases=[3]), "phrase 1 is 3"),
        (phrase(spans=[]), "phrase 1 has no spans"),
        (phrase(spans=[[2]]), r"the span \[2\]"),
        (phrase(spans=[[2, 6]]), "the text has the characters 0 to 5"),
        (phrase(spans=[[3, 3]]), "end after their last character"),
        (phrase(spans=[[1, 2]]), "holds spaces only"),
        (phrase(boxes=None), "boxes is None"),
        (phrase(boxes=[[1, 2, 3]]), "give .x1, y1, x2, y2. in pixels"),
        (phrase(boxes=[[1, 2, "3", 4]]), "give .x1, y1, x2, y2. in pixels"),
        (phrase(boxes=[[30, 2, 3, 4]]), "not width and height"),
        (phrase(boxes=[[1, 2, 66, 4]]), "leaves the image of 64 x 48"),
        (phrase(boxes=[[64.5, 2, 65, 4]]), "leaves the image of 64 x 48"),
        (phrase(scores=[]), "0 scores for 1 boxes"),
        (phrase(scores=[1.5]), "scores lie in 0..1"),
        (categories({"boxes": []}), "category 1 has no name"),
        (categories({"name": "cat"}), "boxes is None"),
        (categories({"name": "cat", "boxes": []}, {"name": "cat", "boxes": []}), "'cat' occurs twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_record_is_said(text, message):
    with pytest.raises(DataError, match=message) as error:
        parse_record(text, PLACE)
    assert str(error.value).startswith("train.jsonl, line 7: ")


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"image": "a.png"}', "not a header"),
        ('{"format": "glip-grounding", "format_version": 3}', "format version 3, but 1 and 2"),
        ('{"format": "glip-grounding", "format_version": 2, "categories": "cat"}', "no list of names"),
        (
            '{"format": "glip-grounding", "format_version": 2, "categories": ["cat", "cat"]}',
            "lists category 'cat' twice",
        ),
    ],
)
def test_what_is_wrong_with_a_header_is_said(text, message):
    with pytest.raises(DataError, match=message):
        parse_header(text, PLACE)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("missing.jsonl", "cannot be read"),
        ("broken.tar", "no tar shard"),
        ("empty", "no .jsonl or .tar files"),
    ):
        with pytest.raises(DataError, match=message) as error:
            open_files([tmp_path / name])
        assert name in str(error.value)


def png(side):
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_shards_hold_records_beside_their_images(tmp_path):
    with ShardWriter(tmp_path, Header(("cat",)), size=2) as writer:
        for side in (10, 11, 12):
            writer.write(Record("x.png", side, side, categories=(Category("cat"),)), png(side))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard-000000.tar", "shard-000001.tar"]
    files = open_files([tmp_path])
    rows = [row for file in files for block in file.blocks for row in file.rows(block)]
    assert [row.record().width for row in rows] == [10, 11, 12]
    assert [file.header for file in files] == [Header(("cat",))] * 2
    for row in rows:
        record = row.record()
        assert row.images.read(record.image, row.place) == png(record.width)


def test_a_shard_without_its_image_says_so(tmp_path):
    with ShardWriter(tmp_path, size=2) as writer:
        writer.write(DETECTION, png(8))
    (file,) = open_files([tmp_path])
    (row,) = file.rows(file.blocks[0])
    with pytest.raises(DataError, match="no member 'other.png'"):
        row.images.read("other.png", row.place)
