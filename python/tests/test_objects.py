import json
import sys

import numpy as np
from PIL import Image

from glip_torch.data import objects


def test_an_image_is_a_function_of_seed_and_index():
    first, again, other = (objects.render_objects(seed, 3) for seed in (5, 5, 6))
    assert np.array_equal(first[0], again[0]) and first[1] == again[1]
    assert not np.array_equal(first[0], other[0])


def test_objects_are_where_their_boxes_say():
    names = set()
    for index in range(12):
        picture, found = objects.render_objects(7, index)
        height, width = picture.shape[:2]
        for name, (x1, y1, x2, y2) in found:
            names.add(name)
            assert 0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height
    assert names == set(objects.OBJECTS)


def test_the_command_writes_a_coco_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "SPLITS", {"train": (1, 4), "val": (2, 1)})
    monkeypatch.setattr(sys, "argv", ["objects", str(tmp_path)])
    objects.main()
    train = json.loads((tmp_path / "train.json").read_text())
    assert [category["name"] for category in train["categories"]] == list(objects.OBJECTS)
    expected = [(index + 1, name, box) for index in range(4) for name, box in objects.render_objects(1, index)[1]]
    written = []
    for annotation in train["annotations"]:
        x, y, width, height = annotation["bbox"]
        name = train["categories"][annotation["category_id"] - 1]["name"]
        written.append((annotation["image_id"], name, (x, y, x + width - 1, y + height - 1)))
    assert written == expected
    for entry in train["images"]:
        with Image.open(tmp_path / "images" / entry["file_name"]) as picture:
            assert picture.size == (entry["width"], entry["height"])
