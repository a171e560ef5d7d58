"""What `glip label` writes, read back by the programs it is written for.

The command is that of `make python-test`, which builds it, or the one that GLIP names. Readers that are large, or bring
much along, are tested where they are installed: `pip install "./python[label-readers]"`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from glip_torch.data.files import read_records
from glip_torch.data.scenes import render_scene

NAMES = ("red circle", "blue square", "yellow star", "green ring")
REPOSITORY = Path(__file__).parents[2]
SEGMENTER = REPOSITORY / "tests/fixtures/golden/segmenter/sam"
FORMATS = "grounding,coco,yolo,gligen,label-studio,cvat"
GLIP = Path(os.environ.get("GLIP", REPOSITORY / "target/debug/glip"))

pytestmark = pytest.mark.skipif(not GLIP.exists(), reason="the command is not built: cargo build -p glip-tools")


def label(*arguments: str | Path) -> None:
    runtime = REPOSITORY / ".onnxruntime/libonnxruntime.so"
    environment = os.environ | ({"ORT_DYLIB_PATH": str(runtime)} if runtime.exists() else {"VIRTUAL_ENV": sys.prefix})
    command = [GLIP, "label", *arguments, "--format", FORMATS, "--copy-images"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def label_pictures(images: Path, out: Path, *arguments: str | Path) -> None:
    words = [argument for name in NAMES for argument in ("--category", name)]
    model = ("--model", REPOSITORY / "models/glip-drawn")
    label(images, *model, *words, "--out", out, "--keep", "0.25", *arguments)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Scenes and a picture with nothing in it, labelled in all formats, in folders with awkward names."""
    folder = tmp_path_factory.mktemp("pictures and labels")
    images = folder / "die Bilder ü" / "a b"
    images.mkdir(parents=True)
    for index in range(12):
        Image.fromarray(render_scene(77, index, 192, 192).image).save(images / f"scene {index}.png")
    Image.new("RGB", (100, 60)).save(images / "black.png")
    label_pictures(images.parent, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def boxes(labelled) -> dict[str, list]:
    """Name and left, top, right, bottom edge of every label, by image, as the journal has them."""
    lines = [json.loads(line) for line in (labelled / "journal.jsonl").read_text().splitlines()]
    found = {}
    for record in (line["labelled"] for line in lines[1:]):
        right, bottom = record["width"], record["height"]
        found[record["image"]] = sorted(
            (NAMES[label["phrase"]], x1, y1, min(x2, right), min(y2, bottom))
            for label in record["labels"]
            for x1, y1, x2, y2 in [label["bbox"]]
        )
    assert len(found) == 13 and sum(map(len, found.values())) > 10 and found["a b/black.png"] == []
    return found


@pytest.fixture(scope="module")
def with_masks(tmp_path_factory) -> Path:
    """Larger pictures, with masks of a segmenter of random weights: their parts and holes are any."""
    folder = tmp_path_factory.mktemp("masks")
    images = folder / "pictures" / "a b"
    images.mkdir(parents=True)
    for index in range(4):
        picture = Image.fromarray(render_scene(77, index, 192, 192).image)
        picture.resize((800, 640)).save(images / f"scene {index}.png")
    Image.new("RGB", (100, 60)).save(images / "black.png")
    label_pictures(images.parent, folder / "with masks", "--segmenter", SEGMENTER)
    return folder / "with masks"


@pytest.fixture(scope="module", params=["rle", "polygon"])
def segmented(request, with_masks) -> tuple[Path, str]:
    """The formats with masks in a form, which are made of the journal."""
    folder = with_masks.with_name(request.param)
    folder.mkdir()
    shutil.copy(with_masks / "journal.jsonl", folder)
    label("--out", folder, "--masks", request.param)
    return folder, request.param


@pytest.fixture(scope="module")
def masks(with_masks) -> dict[str, list]:
    """Name and pixels of every label, by image, in the journal's order."""
    decode = pytest.importorskip("pycocotools.mask").decode
    lines = [json.loads(line) for line in (with_masks / "journal.jsonl").read_text().splitlines()]
    found = {}
    for record in (line["labelled"] for line in lines[1:]):
        labels = record["labels"]
        found[record["image"]] = [(NAMES[label["phrase"]], decode(label["mask"]) > 0) for label in labels]
    pixels = [mask.sum() for labels in found.values() for _, mask in labels]
    assert len(pixels) > 10 and min(pixels) > 0 and max(pixels) > 1000
    return found


def same_masks(found: list, expected: list, form: str) -> bool:
    """Pixel by pixel, or as polygons: readers fill those by rules of their own, which are the same but at edges."""
    same = np.array_equal if form == "rle" else same_but_at_edges
    return [name for name, _ in found] == [name for name, _ in expected] and all(
        same(one, other) for (_, one), (_, other) in zip(found, expected)
    )


def same_but_at_edges(found: np.ndarray, expected: np.ndarray, edge: int = 2) -> bool:
    """Some readers also fill what outlines pass through, a bridge between parts for example: few pixels."""
    within, without = shrunk(expected, edge), shrunk(~expected, edge)
    return ((within & ~found) | (without & found)).sum() <= 0.02 * expected.sum()


def shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Without the pixels that are so close to one that does not belong to it."""
    padded = np.pad(mask, pixels, mode="edge")
    rows = np.lib.stride_tricks.sliding_window_view(padded, 2 * pixels + 1, axis=0).all(-1)
    return np.lib.stride_tricks.sliding_window_view(rows, 2 * pixels + 1, axis=1).all(-1)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def filled(corners: list, size: tuple[int, int]) -> np.ndarray:
    """The pixels within an outline, x and y of whose corners are given."""
    image = Image.new("1", size)
    ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners], fill=1)
    return np.array(image)


def agree(found: list, expected: list, tolerance: float = 0.02) -> bool:
    found = sorted(found)
    return [box[0] for box in found] == [box[0] for box in expected] and all(
        abs(a - b) <= tolerance for one, other in zip(found, expected) for a, b in zip(one[1:], other[1:])
    )


def test_glip_torch_reads_labels(labelled, boxes):
    records = list(read_records(labelled / "labels.jsonl"))
    assert [Path(record.image).name for record in records] == [Path(image).name for image in boxes]
    for record, expected in zip(records, boxes.values()):
        assert Image.open(labelled / record.image).size == (record.width, record.height)
        assert [category.name for category in record.categories] == list(NAMES)
        found = [(category.name, *box) for category in record.categories for box in category.boxes]
        assert agree(found, expected)
        assert record.source == "glip-drawn"


def test_pycocotools_reads_coco(labelled, boxes):
    coco = pytest.importorskip("pycocotools.coco").COCO(str(labelled / "coco.json"))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert tuple(names.values()) == NAMES
    for image in coco.loadImgs(coco.getImgIds()):
        found = [
            (names[a["category_id"]], x, y, x + width, y + height)
            for a in coco.loadAnns(coco.getAnnIds(image["id"]))
            for x, y, width, height in [a["bbox"]]
        ]
        assert agree(found, boxes[image["file_name"]])
    # As detections too.
    annotations = coco.dataset["annotations"]
    results = [{key: a[key] for key in ("image_id", "category_id", "bbox", "score")} for a in annotations]
    assert len(coco.loadRes(results).getAnnIds()) == len(annotations)


def test_pycocotools_reads_masks(segmented, masks):
    folder, form = segmented
    coco = pytest.importorskip("pycocotools.coco").COCO(str(folder / "coco.json"))
    for image in coco.loadImgs(coco.getImgIds()):
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        names = [coco.cats[annotation["category_id"]]["name"] for annotation in annotations]
        found = [coco.annToMask(annotation) > 0 for annotation in annotations]
        expected = masks[image["file_name"]]
        assert same_masks(list(zip(names, found)), expected, form)
        assert [annotation["area"] for annotation in annotations] == [mask.sum() for _, mask in expected]
        assert all(iou(one, other) >= 0.95 for one, (_, other) in zip(found, expected))
    if form == "rle":
        # As detections too.
        annotations = coco.dataset["annotations"]
        results = [{key: a[key] for key in ("image_id", "category_id", "segmentation", "score")} for a in annotations]
        assert len(coco.loadRes(results).getAnnIds()) == len(annotations) > 10


def test_yolo_folders_are_as_their_readers_find_them(labelled, boxes):
    yaml = pytest.importorskip("yaml")
    data = yaml.safe_load((labelled / "yolo/data.yaml").read_text())
    assert tuple(data["names"].values()) == NAMES
    images = sorted((labelled / "yolo" / data["train"]).rglob("*.png"))
    assert len(images) == len(boxes)
    for path in images:
        width, height = Image.open(path).size
        # As ultralytics goes from an image to its labels.
        labels = Path(str(path.with_suffix(".txt")).replace("/images/", "/labels/"))
        found = []
        for line in labels.read_text().splitlines():
            number, *place = line.split()
            x, y, w, h = map(float, place)
            assert max(x + w / 2, y + h / 2) <= 1 + 1e-6
            edges = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            found.append((data["names"][int(number)], *edges))
        assert agree(found, boxes[path.relative_to(labelled / "yolo/images").as_posix()])


def test_supervision_reads_coco_and_yolo(labelled, boxes):
    supervision = pytest.importorskip("supervision")
    images = labelled / "yolo/images"
    flat = labelled / "flat"
    for part, ending in (("images", "png"), ("labels", "txt")):
        # It looks for YOLO's files in one folder, not below it.
        (flat / part).mkdir(parents=True, exist_ok=True)
        for path in (labelled / "yolo" / part).rglob(f"*.{ending}"):
            shutil.copy(path, flat / part)
    yolo = supervision.DetectionDataset.from_yolo(
        str(flat / "images"), str(flat / "labels"), str(labelled / "yolo/data.yaml")
    )
    coco = supervision.DetectionDataset.from_coco(str(images), str(labelled / "coco.json"))
    for data in (yolo, coco):
        assert tuple(data.classes) == NAMES and len(data) == len(boxes)
        for path, _, detections in data:
            found = [(NAMES[number], *map(float, xyxy)) for number, xyxy in zip(detections.class_id, detections.xyxy)]
            expected = boxes[f"a b/{Path(path).name}"]
            # It holds boxes in whole or in single-precision pixels.
            assert agree(found, expected, 1.01)


def test_supervision_reads_masks(segmented, masks):
    supervision = pytest.importorskip("supervision")
    folder, form = segmented
    # It looks for YOLO's files in one folder, not below it.
    images, labels = (folder / "yolo" / part / "a b" for part in ("images", "labels"))
    yolo = supervision.DetectionDataset.from_yolo(str(images), str(labels), str(folder / "yolo/data.yaml"))
    coco = supervision.DetectionDataset.from_coco(
        str(folder / "yolo/images"), str(folder / "coco.json"), force_masks=True
    )
    for data, written in ((yolo, "polygon"), (coco, form)):
        assert len(data) == len(masks)
        for path, _, detections in data:
            found = [] if detections.mask is None else detections.mask
            found = [(NAMES[number], mask) for number, mask in zip(detections.class_id, found)]
            assert same_masks(found, masks[f"a b/{Path(path).name}"], written)


def test_label_studio_accepts_tasks(labelled, boxes):
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    project = interface((labelled / "label_studio.xml").read_text())
    tasks = json.loads((labelled / "label_studio.json").read_text())
    assert len(tasks) == len(boxes)
    for task, expected in zip(tasks, boxes.values()):
        # With predictions, it calls itself wrongly (label-studio-sdk 2.1); those are checked one by one.
        assert project.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert project.validate_prediction(prediction)
        found = []
        for region in task["predictions"][0]["result"]:
            value, width, height = region["value"], region["original_width"] / 100, region["original_height"] / 100
            left, top = value["x"] * width, value["y"] * height
            edges = (left, top, left + value["width"] * width, top + value["height"] * height)
            found.append((*value["rectanglelabels"], *edges))
        assert agree(found, expected)


def test_label_studio_decodes_masks(segmented, masks):
    folder, form = segmented
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    project = interface((folder / "label_studio.xml").read_text())
    tasks = json.loads((folder / "label_studio.json").read_text())
    for task, expected in zip(tasks, masks.values(), strict=True):
        assert all(project.validate_prediction(prediction) for prediction in task["predictions"])
        found = []
        for region in task["predictions"][0]["result"]:
            value, width, height = region["value"], region["original_width"], region["original_height"]
            if form == "rle":
                pixels = brush.decode_rle(value["rle"]).reshape(height, width, 4)
                assert (pixels == pixels[..., :1]).all()
                found.append((*value["brushlabels"], pixels[..., 3] > 0))
            else:
                corners = [(x * width / 100, y * height / 100) for x, y in value["points"]]
                found.append((*value["polygonlabels"], filled(corners, (width, height))))
        assert same_masks(found, expected, form)


def test_cvat_annotations_are_xml_of_their_form(labelled, boxes):
    root = ElementTree.parse(labelled / "cvat.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [name.text for name in root.findall("meta/task/labels/label/name")] == list(NAMES)
    images = root.findall("image")
    assert [image.get("name") for image in images] == list(boxes)
    for image in images:
        edges = [[float(box.get(edge)) for edge in ("xtl", "ytl", "xbr", "ybr")] for box in image.findall("box")]
        labels = [box.get("label") for box in image.findall("box")]
        assert agree([(label, *edge) for label, edge in zip(labels, edges)], boxes[image.get("name")])


def test_datumaro_reads_cvat(labelled, boxes, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    shutil.copytree(labelled / "yolo/images", tmp_path / "images")
    shutil.copy(labelled / "cvat.xml", tmp_path / "annotations.xml")
    data = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    names = [label.name for label in data.categories()[datumaro.AnnotationType.label]]
    assert names == list(NAMES)
    items = {item.id: item for item in data}
    for image, expected in boxes.items():
        annotations = items[str(Path(image).with_suffix(""))].annotations
        assert agree([(names[a.label], *a.points) for a in annotations], expected)
        assert all(0 < float(a.attributes["score"]) <= 1 for a in annotations)


def test_datumaro_reads_masks_of_cvat(segmented, masks, tmp_path):
    datumaro = pytest.importorskip("datumaro")
    folder, form = segmented
    shutil.copytree(folder / "yolo/images", tmp_path / "images")
    shutil.copy(folder / "cvat.xml", tmp_path / "annotations.xml")
    data = datumaro.Dataset.import_from(str(tmp_path), "cvat")
    names = [label.name for label in data.categories()[datumaro.AnnotationType.label]]
    items = {item.id: item for item in data}
    for image, expected in masks.items():
        found = []
        for annotation in items[str(Path(image).with_suffix(""))].annotations:
            if form == "rle":
                pixels = annotation.image > 0
            else:
                height, width = expected[0][1].shape
                pixels = filled(np.reshape(annotation.points, (-1, 2)).tolist(), (width, height))
            found.append((names[annotation.label], pixels))
        assert same_masks(found, expected, form)


def test_grounding_lines_have_masks(segmented, masks):
    decode = pytest.importorskip("pycocotools.mask").decode
    folder, _ = segmented
    lines = (folder / "labels.jsonl").read_text().splitlines()[1:]
    for line, expected in zip(map(json.loads, lines), masks.values(), strict=True):
        for category in line["categories"]:
            found = [(category["name"], decode(mask) > 0) for mask in category.get("masks", [])]
            assert len(found) == len(category["boxes"])
            assert same_masks(found, [label for label in expected if label[0] == category["name"]], "rle")
    # A reader that knows of boxes alone passes them over.
    assert [len(record.categories) for record in read_records(folder / "labels.jsonl")] == [len(NAMES)] * len(masks)


def test_gligen_lines_are_what_its_pipeline_takes(labelled, boxes):
    lines = [json.loads(line) for line in (labelled / "gligen.jsonl").read_text().splitlines()]
    assert {line["image"] for line in lines} == {image for image, found in boxes.items() if found}
    for line in lines:
        width, height = Image.open(labelled / "yolo/images" / line["image"]).size
        assert len(line["phrases"]) == len(line["locations"]) <= 30
        assert all(0 <= left < right <= 1 and 0 <= top < bottom <= 1 for left, top, right, bottom in line["locations"])
        edges = [(a * width, b * height, c * width, d * height) for a, b, c, d in line["locations"]]
        assert agree([(name, *edge) for name, edge in zip(line["phrases"], edges)], boxes[line["image"]])
    # diffusers' own check of a call, which needs no weights.
    diffusers = pytest.importorskip("diffusers")
    pipeline = diffusers.StableDiffusionGLIGENPipeline
    for line in lines:
        fake = type("Pipeline", (), {"_callback_tensor_inputs": []})()
        pipeline.check_inputs(fake, line["prompt"], 512, 512, 1, line["phrases"], line["locations"])
