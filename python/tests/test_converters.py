"""Converters: layouts that are written here as their authors publish them, and what comes out."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from glip_torch.data.__main__ import main
from glip_torch.data.convert.flickr30k import read_sentence
from glip_torch.data.files import JsonLines, open_files, read_records
from glip_torch.data.grounding import Category, DataError, Phrase, Record, record_line


def coco_file(folder, **changes):
    content = {
        "images": [
            {"id": 1, "file_name": "1.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "2.png", "width": 40, "height": 30},
            {"id": 3, "file_name": "3.png", "width": "wide", "height": 30},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 5, 20, 10]},
            {"id": 2, "image_id": 1, "category_id": 3, "bbox": [30, 20, 30, 30]},
            {"id": 3, "image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5]},
            {"id": 4, "image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5], "iscrowd": 1},
            {"id": 5, "image_id": 1, "category_id": 8, "bbox": [0, 0, 5, 5]},
            {"id": 6, "image_id": 1, "category_id": 7, "bbox": [0, 0, 5]},
            {"id": 7, "image_id": 1, "category_id": 7, "bbox": [50, 0, 5, 5]},
            {"id": 8, "image_id": 9, "category_id": 7, "bbox": [0, 0, 5, 5]},
            {"id": 9},
        ],
    } | changes
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_coco(tmp_path, capsys):
    out = tmp_path / "out" / "train.jsonl"
    main(["coco", str(coco_file(tmp_path)), str(out), "--images", str(tmp_path / "pictures")])
    # The cat's box was cut at the border of 40 x 30.
    dogs = Category("dog", ((10.0, 5.0, 30.0, 15.0), (0.0, 0.0, 5.0, 5.0)))
    cat = Category("cat", ((30.0, 20.0, 40.0, 30.0),))
    assert list(read_records(out)) == [Record("../pictures/1.png", 40, 30, categories=(dogs, cat), source="coco")]
    assert JsonLines(out).header.categories == ("cat", "dog")
    lines = map(json.loads, (out.parent / "train.jsonl.report").read_text().splitlines())
    report = [line["reason"] for line in lines if "reason" in line]
    assert sorted(reason.split(":")[0] for reason in report) == sorted(
        ["malformed", "malformed", "malformed", "crowd", "unknown category", "unknown image", "box outside",
         "image without boxes"]
    )  # fmt: skip
    assert "1 records, 3 boxes; left out: 1 x box outside, 1 x crowd" in capsys.readouterr().out


def test_lvis_says_what_is_absent(tmp_path):
    path = coco_file(
        tmp_path,
        images=[{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/000000000001.jpg", "width": 40, "height": 30,
                 "neg_category_ids": [3], "not_exhaustive_category_ids": []}],
        annotations=[{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 5, 20, 10]}],
    )  # fmt: skip
    main(["coco", str(path), str(tmp_path / "train.jsonl"), "--images", str(tmp_path)])
    (record,) = read_records(tmp_path / "train.jsonl")
    assert record.image == "val2017/000000000001.jpg" and record.source == "lvis"
    assert record.categories == (Category("dog", ((10.0, 5.0, 30.0, 15.0),)), Category("cat"))


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "no JSON"),
        ("[]", "no list of images"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "1 x malformed"),
        ('\ufeff{"images": [], "annotations": [], "categories": []}', "no records for"),
        ('{"images": [], "annotations": [], "categories": []}', "no records for"),
    ],
)
def test_a_coco_file_that_is_none(tmp_path, content, message):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        main(["coco", str(tmp_path / "x.json"), str(tmp_path / "out.jsonl"), "--images", str(tmp_path)])
    assert not (tmp_path / "out.jsonl").exists()


def test_boxes_that_look_like_corners_are_told_and_used(tmp_path, capsys):
    path = coco_file(tmp_path, annotations=[{"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 15, 30, 25]}])
    main(["coco", str(path), str(tmp_path / "train.jsonl"), "--images", str(tmp_path)])
    assert "warning: annotations: 1 of 1 boxes reach beyond their image: x1 y1 x2 y2?" in capsys.readouterr().out
    (record,) = read_records(tmp_path / "train.jsonl")
    assert record.categories == (Category("dog", ((20.0, 15.0, 40.0, 30.0),)),)
    assert "x1 y1 x2 y2?" in (tmp_path / "train.jsonl.report").read_text()


def test_files_of_other_computers(tmp_path):
    """A picture that lies on its side, whose size the file does not say, by a name of Windows; a category above all others."""
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "pictures" / "sub").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "pictures" / "sub" / "1.jpg", exif=turned)
    path = coco_file(
        tmp_path,
        images=[{"id": 1, "file_name": "C:\\data\\sub\\1.jpg", "width": None}],
        categories=[{"id": 0, "name": "animals", "supercategory": "none"}, {"id": 7, "name": "dog", "supercategory": "animals"}],
        annotations=[{"id": "1", "image_id": "1", "category_id": "7", "bbox": [5, 10, 20, 28], "iscrowd": "0"}],
    )  # fmt: skip
    main(["coco", str(path), str(tmp_path / "train.jsonl"), "--images", str(tmp_path / "pictures")])
    dog = Category("dog", ((5.0, 10.0, 25.0, 38.0),))
    (record,) = read_records(tmp_path / "train.jsonl")
    assert record == Record("pictures/sub/1.jpg", 30, 40, categories=(dog,), source="coco")
    assert JsonLines(tmp_path / "train.jsonl").header.categories == ("dog",)
    assert "category above all others, without a box: animals" in (tmp_path / "train.jsonl.report").read_text()
    # In the upright frame, which the box fits into.
    main(["check", str(tmp_path / "train.jsonl")])


FLICKR_XML = """<annotation><filename>7.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>11</name><name>12</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>50</xmax><ymax>80</ymax></bndbox></object>
<object><name>11</name><bndbox><xmin>60</xmin><ymin>2</ymin><xmax>100</xmax><ymax>20</ymax></bndbox></object>
<object><name>13</name><scene>1</scene><nobndbox>1</nobndbox></object>
<object><name>14</name><scene>0</scene><nobndbox>1</nobndbox></object></annotation>"""
FLICKR_SENTENCES = """[/EN#11/people Two men] with [/EN#12/bodyparts/clothing shaggy hair] look at [/EN#0/notvisual it] .
[/EN#14/other A car] passes in [/EN#13/scene the street] .
"""


def flickr_folder(folder):
    for name, content in (("Annotations/7.xml", FLICKR_XML), ("Sentences/7.txt", FLICKR_SENTENCES), ("Annotations/8.xml", "<a"),
                          ("Sentences/8.txt", "x")):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def test_flickr30k_entities(tmp_path):
    flickr_folder(tmp_path)
    main(["flickr30k", str(tmp_path), str(tmp_path / "train.jsonl"), "--images", str(tmp_path / "flickr30k-images")])
    (record,) = read_records(tmp_path / "train.jsonl")
    assert record.text == "Two men with shaggy hair look at it ."
    # The files count pixels from 1, and the last belongs to a box. "it" is not visible, so it is no phrase.
    first, second = (0.0, 1.0, 50.0, 80.0), (59.0, 1.0, 100.0, 20.0)
    assert record.phrases == (Phrase(((0, 7),), (first, second)), Phrase(((13, 24),), (first,)))
    assert (record.image, record.width, record.height) == ("flickr30k-images/7.jpg", 100, 80)
    report = (tmp_path / "train.jsonl.report").read_text()
    assert "sentence 2" in report and "sentence without boxes" in report
    assert "image 8" in report and "unreadable annotations" in report


def test_flickr30k_sentences():
    text, marked = read_sentence("[/EN#14/other A car] passes [/EN#3/people/other men] .")
    assert text == "A car passes men ."
    assert [(entity, text[begin:end]) for entity, (begin, end) in marked] == [("14", "A car"), ("3", "men")]


def test_a_folder_that_is_not_flickrs(tmp_path):
    with pytest.raises(SystemExit, match="no folder Sentences"):
        main(["flickr30k", str(tmp_path), str(tmp_path / "train.jsonl"), "--images", str(tmp_path)])


def write_lines(path, *records):
    header = '{"format": "glip-grounding", "format_version": 2, "categories": ["cat"]}'
    lines = [record if isinstance(record, str) else record_line(record) for record in records]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_labels_of_a_model_are_screened(tmp_path):
    boxes = ((0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 9.0), (20.0, 0.0, 30.0, 10.0))
    labels = write_lines(
        tmp_path / "labels.jsonl",
        Record("a.png", 40, 30, text="a cat and a dog", phrases=(Phrase(((0, 5),), boxes[:1], (0.9,)), Phrase(((10, 15),), boxes[1:], (0.6, 0.4)))),
        Record("b.png", 40, 30, text="a cow", phrases=(Phrase(((0, 5),), boxes[:1], (0.5,)),)),
        "{",
    )  # fmt: skip
    out = tmp_path / "screened" / "labels.jsonl"
    main(["screen", str(labels), "--out", str(out)])
    (record,) = read_records(out)
    assert record.image == "../a.png"
    assert [phrase.boxes for phrase in record.phrases] == [boxes[:1], boxes[1:2]]
    assert [phrase.scores for phrase in record.phrases] == [(0.9,), (0.6,)]
    report = (tmp_path / "screened" / "labels.jsonl.report").read_text()
    assert "too few boxes" in report and "not JSON" in report
    # Both boxes of the record are nearly the same: with NMS the better one stays.
    main(["screen", str(labels), "--out", str(out), "--nms", "0.8"])
    (record,) = read_records(out)
    assert [len(phrase.boxes) for phrase in record.phrases] == [1, 0]


def test_shards_of_files_lose_nothing_but_what_is_broken(tmp_path):
    main(["scenes", str(tmp_path), "--count", "5", "--side", "64"])
    records = list(read_records(tmp_path / "detection.jsonl"))
    (tmp_path / records[1].image).write_bytes(b"no image")
    main(["shards", str(tmp_path / "detection.jsonl"), "--out", str(tmp_path / "shards"), "--records", "3"])
    files = open_files([tmp_path / "shards"])
    assert files[0].header == JsonLines(tmp_path / "detection.jsonl").header
    packed = list(read_records(tmp_path / "shards"))
    assert [record.categories for record in packed] == [r.categories for n, r in enumerate(records) if n != 1]
    assert "cannot be decoded" in (tmp_path / "shards" / "shards.report").read_text()
    # As webdataset lays shards out: a record and its image share a name.
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as shard:
        names = shard.getnames()
    assert names[0] == "header.json" and names[1].removesuffix(".json") == names[2].removesuffix(".png")
    with pytest.raises(SystemExit, match="has shards already"):
        main(["shards", str(tmp_path / "detection.jsonl"), "--out", str(tmp_path / "shards")])


def test_check_lists_all_problems(tmp_path, capsys):
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    good = Record("a.png", 40, 30, categories=(Category("cat"),))
    main(["check", str(write_lines(tmp_path / "good.jsonl", good))])
    assert "1 records, all of them good" in capsys.readouterr().out
    bad = write_lines(
        tmp_path / "bad.jsonl", good, Record("a.png", 41, 30, categories=(Category("cat"),)),
        Record("gone.png", 40, 30, categories=(Category("cat"),)), "{",
    )  # fmt: skip
    with pytest.raises(SystemExit) as error:
        main(["check", str(bad)])
    message = str(error.value)
    assert "bad.jsonl, line 3" in message and "is 40 x 30, but listed as 41 x 30" in message
    assert "line 4" in message and "cannot be read" in message
    assert "line 5" in message and message.endswith("3 of 4 records cannot be used")


@pytest.mark.parametrize("kind", ["detection", "captions"])
def test_scenes(tmp_path, kind):
    main(["scenes", str(tmp_path), "--count", "3", "--side", "64", "--kind", kind])
    main(["check", str(tmp_path / f"{kind}.jsonl")])
    for record in read_records(tmp_path / f"{kind}.jsonl"):
        assert (record.text is None) == (kind == "detection")


def test_a_source_without_records_is_an_error(tmp_path):
    with pytest.raises(DataError):
        list(read_records(write_lines(tmp_path / "x.jsonl", "{}")))


def test_pairs_of_other_tools(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "1.png")
    lines = (
        '\ufeff{"image": "1.png", "caption": "a dog", "score": NaN, "id": 7}\n{"image": "1.png", "caption": "größer"}\n'
    )
    (tmp_path / "pairs.jsonl").write_bytes(lines.encode() + '{"image": "ü.png"}\n'.encode("latin-1"))
    main(["pairs", str(tmp_path / "pairs.jsonl"), str(tmp_path / "out.jsonl"), "--images", str(tmp_path)])
    assert [record.text for record in read_records(tmp_path / "out.jsonl")] == ["a dog", "größer"]
    assert "byte 0xfc in line 3" in (tmp_path / "out.jsonl.report").read_text()
