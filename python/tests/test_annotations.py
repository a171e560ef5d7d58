"""Annotations as people have them, in tables that the readers of `glip-tools` are tested with too."""

import json
from pathlib import Path

import pytest
from PIL import Image

from glip_torch.data.coco import FormatError, read_dataset
from glip_torch.data.convert.flickr30k import FlickrSource
from glip_torch.data.convert.report import Report
from glip_torch.data.text import EncodingError

FOLDER = Path(__file__).parents[2] / "glip-tools" / "tests" / "fixtures" / "annotations"


def table(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def json_text(content):
    """JSON with the words that JSON does not have."""
    text = json.dumps(content, ensure_ascii=False)
    for word in ("NaN", "Infinity", "-Infinity"):
        text = text.replace(f'"<{word}>"', word)
    return text


def encoded(text, case):
    return text.encode(case.get("encoding", "utf-8"))


def understood(dataset):
    """What was read, in the table's form; of problems the parts that are the same in every reader."""
    return {
        "images": [[i.id, i.file_name, i.width, i.height] for i in dataset.images],
        "annotations": [[a.id, a.image, a.category, list(a.bbox), a.area, a.is_crowd] for a in dataset.annotations],
        "categories": [[c.id, c.name] for c in dataset.categories],
        "root": dataset.root and [dataset.root.id, dataset.root.name],
        "problems": [[p.kind, p.subject] for p in dataset.problems],
    }


COCO = table("coco.json")


@pytest.mark.parametrize("case", named(COCO["cases"]))
def test_coco_files_are_read_as_the_table_says(case, tmp_path):
    path = tmp_path / "instances.json"
    text = case.get("text") or json_text(COCO["base"] | case.get("file", {}))
    path.write_bytes(encoded(text, case))
    if "error" in case:
        with pytest.raises((FormatError, EncodingError)) as error:
            read_dataset(path)
        assert case["error"] in str(error.value)
        return
    dataset = read_dataset(path)
    expected = COCO["understood"] | case.get("understood", {})
    for problem, (*_, part) in zip(dataset.problems, expected["problems"]):
        assert part in problem.detail
    assert understood(dataset) == expected | {"problems": [problem[:2] for problem in expected["problems"]]}


@pytest.mark.parametrize("case", named(table("flickr30k.json")["cases"]))
def test_flickr30k_is_read_as_the_table_says(case, tmp_path):
    for name, content in (("Sentences/1.txt", case["sentences"]), ("Annotations/1.xml", case["annotations"])):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(content, case))
    with Report(tmp_path / "report") as report:
        records = list(FlickrSource(tmp_path, tmp_path, tmp_path).records(report))
    phrases = [
        # Records have edges, the table has the last column and row.
        [record.text[slice(*phrase.spans[0])], [[x1, y1, x2 - 1, y2 - 1] for x1, y1, x2, y2 in phrase.boxes]]
        for record in records
        for phrase in record.phrases
    ]
    assert phrases == case["phrases"]
    lines = [json.loads(line) for line in report.path.read_text().splitlines()] if report.path.exists() else []
    left_out = [line for line in lines if "sentence" not in line["what"]]
    assert [line["what"] for line in left_out] == [subject for _, subject, _ in case["problems"]]
    for line, (_, _, part) in zip(left_out, case["problems"]):
        assert part in line["reason"]


def test_pictures_are_found_by_names_of_other_computers(tmp_path):
    names = table("file_names.json")
    for file in names["files"]:
        (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / file).touch()
    for written, found in names["cases"]:
        content = {"images": [{"id": 1, "file_name": written}], "annotations": [], "categories": []}
        (tmp_path / "x.json").write_text(json.dumps(content))
        (image,) = read_dataset(tmp_path / "x.json").images
        assert image.path_in(tmp_path) == tmp_path / found, written


@pytest.mark.parametrize(
    "bbox, size, is_doubtful",
    [([1, 2, 3, 4], (40, 30), True), ([1, 2, 25, 35], (30, 40), False), ([1, 2, 38, 38], (40, 30), True)],
)
def test_sizes_that_are_not_given_are_the_pictures(bbox, size, is_doubtful, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=turned)
    Image.new("RGB", (20, 10)).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_text("no picture")
    files = ("turned.jpg", "plain.png", "broken.png", "gone.png")
    content = {
        "images": [{"id": number, "file_name": name, "width": None} for number, name in enumerate(files)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": bbox},
                        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [20, 0, 5, 5]}],
        "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps(content))
    dataset = read_dataset(tmp_path / "x.json")
    assert not dataset.problems
    dataset.complete_sizes(tmp_path)
    assert [image.size for image in dataset.images] == [size, (20, 10), None, None]
    kinds = [(problem.kind, problem.subject) for problem in dataset.problems]
    assert ("box_outside", "annotation 2") in kinds
    assert (("doubtful", "images") in kinds) == is_doubtful
