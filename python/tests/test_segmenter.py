"""Segmenters: what is exported is the model, and pairs of ONNX files are taken or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_segmenters import SIDE, official_sam, sam, sam2

from glip_torch.export_segmenter import main
from glip_torch.segmenter.bundle import SegmenterOptions, export_segmenter
from glip_torch.segmenter.hugging_face import Sam2Decoder, SamDecoder
from glip_torch.segmenter.sources import open_source
from glip_torch.tensor_files import CheckpointError

BOXES = torch.tensor([[10.0, 20, 90, 100], [5, 60, 120, 127]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter of a Hugging Face SAM."""
    out = tmp_path_factory.mktemp("segmenter") / "tiny"
    export_segmenter(sam(), out, SegmenterOptions(name="tiny"))
    return out


def test_the_decoder_gives_what_sam_model_gives_for_boxes() -> None:
    model = sam()
    pixels = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        features = model.get_image_embeddings(pixels)
        masks, scores = SamDecoder(model)(features, BOXES.reshape(2, 2, 2), torch.tensor([[2.0, 3], [2, 3]]))
        for several, found in ((False, slice(0, 1)), (True, slice(1, 4))):
            theirs = model(image_embeddings=features, input_boxes=BOXES[None], multimask_output=several)
            torch.testing.assert_close(masks[:, found], theirs.pred_masks[0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(scores[:, found], theirs.iou_scores[0], atol=1e-5, rtol=1e-4)


def test_the_decoder_gives_what_sam2_model_gives_for_boxes_and_points() -> None:
    model = sam2()
    with torch.no_grad():
        finest, fine, coarse = features = model.get_image_embeddings(torch.randn(1, 3, SIDE, SIDE))
        decoder = Sam2Decoder(model)
        masks, _ = decoder(coarse, finest, fine, BOXES.reshape(2, 2, 2), torch.tensor([[2.0, 3], [2, 3]]))
        theirs = model(image_embeddings=features, input_boxes=BOXES[None], multimask_output=True)
        torch.testing.assert_close(masks[:, 1:], theirs.pred_masks[0], atol=1e-4, rtol=1e-4)
        point, label = torch.tensor([[[40.0, 70]]]), torch.ones(1, 1)
        masks, _ = decoder(coarse, finest, fine, point, label)
        theirs = model(
            image_embeddings=features, input_points=point[None], input_labels=label[None].long(), multimask_output=True
        )
        torch.testing.assert_close(masks[:, 1:], theirs.pred_masks[0], atol=1e-4, rtol=1e-4)


def test_official_modules_are_exported(tmp_path: Path) -> None:
    pytest.importorskip("segment_anything", reason="pip install segment-anything")
    errors = export_segmenter(official_sam(), tmp_path / "out", SegmenterOptions())
    assert max(errors.values()) < 1e-4


def test_a_saved_model_is_exported_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sam().save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert main([str(tmp_path / "saved"), str(tmp_path / "out"), "--precision", "fp16-weights"]) == 0
    manifest = json.loads((tmp_path / "out" / "segmenter.json").read_text())
    assert (manifest["family"], manifest["precision"]) == ("sam", "fp16-weights")
    assert manifest["source"] == {"weights": "saved", "licence": "apache-2.0"}
    assert manifest["image"]["resize"] == {"kind": "longest_side", "side": SIDE}
    assert set(manifest["files"]) == {"encoder.onnx", "decoder.onnx"}
    assert main([str(tmp_path / "saved"), str(tmp_path / "out")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    for source, reason in [
        (tmp_path, "'bert'"),
        (tmp_path / "other.pth", "of no architecture known here"),
        (tmp_path / "missing.pth", "does not exist"),
    ]:
        with pytest.raises(CheckpointError, match=reason):
            open_source(str(source))
    with pytest.raises(TypeError, match="Linear"):
        export_segmenter(torch.nn.Linear(2, 2), tmp_path / "out", SegmenterOptions())
    assert not (tmp_path / "out").exists()


def pair(folder: Path, out: Path, kind: str = "sam") -> int:
    files = ["--encoder", str(folder / "encoder.onnx"), "--decoder", str(folder / "decoder.onnx")]
    return main([*files, "--kind", kind, str(out), "--licence", "mine"])


def test_a_pair_of_files_becomes_the_segmenter_that_it_was(folder: Path, tmp_path: Path) -> None:
    assert pair(folder, tmp_path / "out") == 0
    expected, found = (json.loads((path / "segmenter.json").read_text()) for path in (folder, tmp_path / "out"))
    for entry in ("family", "encoder", "features", "decoder", "files", "image"):
        assert found[entry] == expected[entry], entry


def test_a_decoder_for_one_prompt_with_large_masks_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    """As the official project exports it: mask inputs, and masks of the image's size, here of a constant one."""
    model = onnx.load(folder / "decoder.onnx")
    graph = model.graph
    for value in graph.input:
        if value.name.startswith("point_"):
            value.type.tensor_type.shape.dim[0].ClearField("dim_param")
            value.type.tensor_type.shape.dim[0].dim_value = 1
    float32 = onnx.TensorProto.FLOAT
    graph.input.extend(
        [
            onnx.helper.make_tensor_value_info("mask_input", float32, [1, 1, 32, 32]),
            onnx.helper.make_tensor_value_info("has_mask_input", float32, [1]),
            onnx.helper.make_tensor_value_info("orig_im_size", float32, [2]),
        ]
    )
    graph.node.append(onnx.helper.make_node("Identity", ["low_res_masks"], ["masks"]))
    graph.output.append(onnx.helper.make_tensor_value_info("masks", float32, [1, 4, 32, 32]))
    (tmp_path / "pair").mkdir()
    onnx.save(model, tmp_path / "pair" / "decoder.onnx")
    (tmp_path / "pair" / "encoder.onnx").write_bytes((folder / "encoder.onnx").read_bytes())
    assert pair(tmp_path / "pair", tmp_path / "out") == 0
    decoder = json.loads((tmp_path / "out" / "segmenter.json").read_text())["decoder"]
    assert decoder["inputs"] == ["point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
    assert (decoder["unused_outputs"], decoder["prompts"], decoder["choose"]) == (["masks"], "one", "first")


def test_pairs_that_are_none_are_refused_with_the_reason(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    swapped = ["--encoder", str(folder / "decoder.onnx"), "--decoder", str(folder / "encoder.onnx")]
    for arguments, reason in [
        ([*swapped, "--kind", "sam"], "an encoder takes one image"),
        (
            ["--encoder", str(folder / "encoder.onnx")] * 1
            + ["--decoder", str(folder / "encoder.onnx"), "--kind", "sam"],
            "no input point_coords",
        ),
        (
            ["--encoder", str(folder / "encoder.onnx"), "--decoder", str(folder / "decoder.onnx"), "--kind", "sam2"],
            "no output masks",
        ),
        (
            ["--encoder", str(folder / "encoder.onnx"), "--decoder", str(folder / "decoder.onnx"), "--kind", "sam2-hf"],
            "take points only",
        ),
        (
            ["--encoder", str(folder / "segmenter.json"), "--decoder", str(folder / "decoder.onnx"), "--kind", "sam"],
            "cannot be read as ONNX",
        ),
    ]:
        assert main([*arguments, str(tmp_path / "out")]) == 1
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pair_of_the_hub_for_sam2_is_taken(tmp_path: Path) -> None:
    """Files with the names and the shapes of the hub's, of a decoder that ignores points, as boxes are all that is asked here."""
    float32 = onnx.TensorProto.FLOAT
    info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    names = ["image_embeddings.0", "image_embeddings.1", "image_embeddings.2"]
    sizes = [(8, 32), (16, 16), (32, 8)]
    zeros = [
        node("ConstantOfShape", [f"shape.{index}"], [name], value=onnx.helper.make_tensor("v", float32, [1], [0.5]))
        for index, name in enumerate(names)
    ]
    shapes = [
        onnx.numpy_helper.from_array(np.array([1, channels, side, side]), f"shape.{index}")
        for index, (channels, side) in enumerate(sizes)
    ]
    maps = [info(name, float32, [1, channels, side, side]) for name, (channels, side) in zip(names, sizes)]
    pixels = info("pixel_values", float32, [1, 3, 128, 128])
    encoder = onnx.helper.make_graph(zeros, "encoder", [pixels], maps, shapes)
    # A mask is where its box is wide, three times.
    nodes = [
        node("ReduceSum", ["input_boxes", "last"], ["sum"], keepdims=1),
        node("Unsqueeze", ["sum", "ends"], ["wide"]),
        node("Expand", ["wide", "shape"], ["pred_masks"]),
        node("Expand", ["sum", "three"], ["iou_scores"]),
    ]
    weights = [
        onnx.numpy_helper.from_array(np.array(values), name)
        for name, values in {"last": [2], "ends": [3, 4], "shape": [1, 1, 3, 32, 32], "three": [1, 1, 3]}.items()
    ]
    inputs = [
        info("input_points", float32, [1, "prompts", "points", 2]),
        info("input_labels", onnx.TensorProto.INT64, [1, "prompts", "points"]),
        info("input_boxes", float32, [1, "boxes", 4]),
    ]
    outputs = [
        info("iou_scores", float32, [1, "boxes", 3]),
        info("pred_masks", float32, [1, "boxes", 3, 32, 32]),
    ]
    decoder = onnx.helper.make_graph(nodes, "decoder", [*maps, *inputs], outputs, weights)
    for name, graph in (("encoder", encoder), ("decoder", decoder)):
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, tmp_path / f"{name}.onnx")
    assert pair(tmp_path, tmp_path / "out", "sam2-hf") == 0
    manifest = json.loads((tmp_path / "out" / "segmenter.json").read_text())
    assert [entry["input"] for entry in manifest["features"]] == names
    assert manifest["decoder"]["prompts"] == "many"
    assert manifest["decoder"]["choose"] == "best_score"


def test_exported_files_run_for_any_number_of_prompts(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    features = np.random.default_rng(0).normal(size=(1, 32, SIDE // 16, SIDE // 16)).astype(np.float32)
    feeds = {
        "image_embeddings": features,
        "point_coords": BOXES.reshape(2, 2, 2).numpy(),
        "point_labels": np.array([[2, 3], [2, 3]], np.float32),
    }
    both = session.run(None, feeds)
    second = session.run(None, feeds | {name: value[1:] for name, value in feeds.items() if name != "image_embeddings"})
    for together, alone in zip(both, second):
        np.testing.assert_allclose(together[1:], alone, atol=1e-4)
