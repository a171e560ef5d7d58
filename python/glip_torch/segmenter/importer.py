"""Pairs of ONNX files that are there already, as segmenters: their edges are checked, and a prompt is tried."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from ..export.bundle import atomic_folder
from ..tensor_files import CheckpointError
from .bundle import SegmenterOptions, feature, write_manifest
from .sam import IMAGE_MEAN, IMAGE_STD

_ELEMENTS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.INT64: "int64"}


@dataclass(frozen=True)
class Kind:
    """What the decoders of a family take beside features, by name with type and rank, and what they give."""

    inputs: dict[str, tuple[str, int]]
    #: What makes it a decoder for boxes, and why one without is refused.
    boxes: tuple[str, str]
    logits: tuple[str, int]
    scores: tuple[str, int]
    #: How images are resized: to a square, whatever their shape, by their longest side, or not at all.
    resize: str
    #: Which candidate is taken, by how many there are.
    choose: dict[int, str]
    #: Whether the encoder takes pixels from 0 to 1 and normalises them itself.
    unit_pixels: bool = False


KINDS = {
    "sam": Kind(
        inputs={
            "point_coords": ("float32", 3),
            "point_labels": ("float32", 2),
            "mask_input": ("float32", 4),
            "has_mask_input": ("float32", 1),
            "orig_im_size": ("float32", 1),
        },
        boxes=("point_coords", "boxes are points with labels 2 and 3 to such decoders"),
        logits=("low_res_masks", 4),
        scores=("iou_predictions", 2),
        resize="longest_side",
        choose={1: "first", 3: "best_score", 4: "first"},
    ),
    "sam2": Kind(
        inputs={
            "point_coords": ("float32", 3),
            "point_labels": ("float32", 2),
            "mask_input": ("float32", 4),
            "has_mask_input": ("float32", 1),
        },
        boxes=("point_coords", "boxes are points with labels 2 and 3 to such decoders"),
        logits=("masks", 4),
        scores=("iou_predictions", 2),
        resize="square",
        choose={1: "first", 3: "best_score", 4: "stability"},
    ),
    "sam2-hf": Kind(
        inputs={"input_points": ("float32", 4), "input_labels": ("int64", 3), "input_boxes": ("float32", 3)},
        boxes=(
            "input_boxes",
            "such decoders take points only and do not know a box's corners: give the model itself as SOURCE instead",
        ),
        logits=("pred_masks", 5),
        scores=("iou_scores", 3),
        resize="square",
        choose={1: "first", 3: "best_score"},
    ),
    "efficient-sam": Kind(
        inputs={
            "batched_point_coords": ("float32", 4),
            "batched_point_labels": ("float32", 3),
            "orig_im_size": ("int64", 1),
        },
        boxes=("batched_point_coords", "boxes are points with labels 2 and 3 to such decoders"),
        logits=("output_masks", 5),
        scores=("iou_predictions", 3),
        resize="none",
        choose={3: "best_score"},
        unit_pixels=True,
    ),
}


@dataclass(frozen=True)
class _Edge:
    name: str
    type: str
    #: A dimension that is free is `None`.
    shape: tuple[int | None, ...]


def import_segmenter(
    encoder: Path, decoder: Path, kind: str, target: Path, options: SegmenterOptions, overwrite: bool = False
) -> Iterator[str]:
    """Copies the files into the folder and writes its manifest; says what was found.

    Raises `CheckpointError` where the files are not such a pair.
    """
    spec = KINDS[kind]
    encoder_inputs, encoder_outputs = _edges(encoder)
    decoder_inputs, decoder_outputs = _edges(decoder)
    pixels, layout = _image_input(encoder, encoder_inputs)
    named = [edge for edge in decoder_inputs if edge.name in spec.inputs]
    _check_prompts(decoder, spec, named, decoder_outputs, kind)
    others = [edge for edge in decoder_inputs if edge.name not in spec.inputs]
    features = [(_matching(edge, encoder_outputs, len(others), encoder), edge) for edge in others]
    side = _side(pixels, layout, [edge for _, edge in features])
    trial = _Trial(encoder, decoder, spec, features, named, pixels, layout, side)
    candidates, many = trial.run()
    if candidates not in spec.choose:
        raise CheckpointError(f"{decoder} gives {candidates} masks for a prompt, where {kind} has {list(spec.choose)}")
    with atomic_folder(target, overwrite) as folder:
        for file in {encoder, decoder}:
            _copy(file, folder)
        entries = {
            "family": kind,
            "image": _image(spec, layout, side),
            "encoder": {"file": encoder.name, "input": pixels.name, "layout": layout},
            "features": [feature(out.name, edge.name, edge.type, len(edge.shape)) for out, edge in features],
            "decoder": {
                "file": decoder.name,
                "inputs": [edge.name for edge in named],
                "unused_outputs": [
                    edge.name for edge in decoder_outputs if edge.name not in (spec.logits[0], spec.scores[0])
                ],
                "prompts": "many" if many else "one",
                "choose": spec.choose[candidates],
            },
        }
        write_manifest(folder, entries, options)
    size = "images of any size" if spec.resize == "none" else f"{side} x {side} pixels"
    normalised = layout == "planes" and not spec.unit_pixels
    yield f"{encoder.name}: {size}, {'normalised' if normalised else 'as they are'}"
    yield f"{decoder.name}: {candidates} masks a prompt, {'many prompts' if many else 'one prompt'} a run"


def _edges(path: Path) -> tuple[list[_Edge], list[_Edge]]:
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's errors are of many kinds
        raise CheckpointError(f"{path} cannot be read as ONNX ({error}); is the download complete?") from error
    constants = {weight.name for weight in graph.initializer}

    def edges(values: list[onnx.ValueInfoProto]) -> list[_Edge]:
        found = []
        for value in values:
            tensor = value.type.tensor_type
            shape = tuple(dim.dim_value or None for dim in tensor.shape.dim)
            found.append(_Edge(value.name, _ELEMENTS.get(tensor.elem_type, "another type"), shape))
        return found

    return edges([value for value in graph.input if value.name not in constants]), edges(list(graph.output))


def _image_input(path: Path, inputs: list[_Edge]) -> tuple[_Edge, str]:
    layouts = {4: "planes", 3: "interleaved"}
    if len(inputs) != 1 or inputs[0].type != "float32" or len(inputs[0].shape) not in layouts:
        found = ", ".join(f"{edge.name} {edge.type} {list(edge.shape)}" for edge in inputs)
        raise CheckpointError(
            f"{path} takes {found}: an encoder takes one image, float32 [1, 3, height, width] or [height, width, 3]"
        )
    return inputs[0], layouts[len(inputs[0].shape)]


def _check_prompts(path: Path, spec: Kind, named: list[_Edge], outputs: list[_Edge], kind: str) -> None:
    boxes, reason = spec.boxes
    if boxes not in {edge.name for edge in named}:
        raise CheckpointError(f"{path} has no input {boxes}, so it cannot be asked for the mask of a box: {reason}")
    for edge in named:
        if (edge.type, len(edge.shape)) != spec.inputs[edge.name]:
            type, rank = spec.inputs[edge.name]
            raise CheckpointError(
                f"input {edge.name} of {path} is {edge.type} of rank {len(edge.shape)}, {kind} has {type} of rank {rank}"
            )
    given = {edge.name: edge for edge in outputs}
    for name, rank in (spec.logits, spec.scores):
        if name not in given or given[name].type != "float32" or len(given[name].shape) != rank:
            raise CheckpointError(
                f"{path} has no output {name}, float32 of rank {rank}, but {', '.join(given)}: is --kind {kind} right?"
            )


def _matching(edge: _Edge, outputs: list[_Edge], count: int, encoder: Path) -> _Edge:
    """The encoder's output for an input of the decoder: of that name, or the only one if one is wanted."""
    by_name = [output for output in outputs if output.name == edge.name]
    found = by_name or (outputs if count == len(outputs) == 1 else [])
    if not found or (found[0].type, len(found[0].shape)) != (edge.type, len(edge.shape)):
        names = ", ".join(output.name for output in outputs)
        raise CheckpointError(
            f"the decoder takes {edge.name}, {edge.type} of rank {len(edge.shape)}, which {encoder} does not give (it gives {names})"
        )
    return found[0]


def _side(pixels: _Edge, layout: str, features: list[_Edge]) -> int:
    """Of the network input: as the graph says, or 16 times that of the coarsest features, or SAM's own."""
    height = pixels.shape[2] if layout == "planes" else None
    rows = [edge.shape[2] for edge in features if len(edge.shape) == 4 and edge.shape[2]]
    return height or (16 * min(rows) if rows else 1024)


def _image(spec: Kind, layout: str, side: int) -> dict:
    if layout == "interleaved":
        mean, std = [0.0] * 3, [1.0] * 3
    elif spec.unit_pixels:
        mean, std = [0.0] * 3, [255.0] * 3
    else:
        mean, std = IMAGE_MEAN, IMAGE_STD
    return {
        "resize": {"kind": spec.resize} | ({} if spec.resize == "none" else {"side": side}),
        "channel_order": "rgb",
        "mean": mean,
        "std": std,
        "padding": {"square": side} if spec.resize == "longest_side" else {"multiple_of": 1},
    }


def _copy(file: Path, folder: Path) -> None:
    """A graph, and the files beside it that hold its weights."""
    shutil.copyfile(file, folder / file.name)
    graph = onnx.load(file, load_external_data=False).graph
    for weight in graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location" and not (folder / entry.value).exists():
                if Path(entry.value).name != entry.value:
                    raise CheckpointError(f"{file} keeps weights in {entry.value}, which is not beside it")
                shutil.copyfile(file.with_name(entry.value), folder / entry.value)


@dataclass(frozen=True)
class _Trial:
    """The pair, run once on noise."""

    encoder: Path
    decoder: Path
    spec: Kind
    features: list[tuple[_Edge, _Edge]]
    named: list[_Edge]
    pixels: _Edge
    layout: str
    side: int

    def run(self) -> tuple[int, bool]:
        """How many masks there are for a prompt, and whether several prompts can be asked for at once."""
        encoder, decoder = (
            onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            for path in (self.encoder, self.decoder)
        )
        noise = np.random.default_rng(0).uniform(-2, 2, (1, 3, self.side, self.side)).astype(np.float32)
        if self.layout == "interleaved":
            noise = (noise[0].transpose(1, 2, 0) + 2) * 60
        elif self.spec.unit_pixels:
            noise = (noise + 2) / 4
        names = [output.name for output, _ in self.features]
        given = encoder.run(names, {self.pixels.name: noise})
        feeds = {edge.name: value for (_, edge), value in zip(self.features, given)}
        one = self._masks(decoder, feeds, 1)
        try:
            two = self._masks(decoder, feeds, 2)
            many = two.shape[0] == 2 and np.allclose(one[0], two[0], atol=1e-3 * np.abs(one).max())
        except (Fail, InvalidArgument, RuntimeException):
            many = False
        return one.shape[1], many

    def _masks(self, decoder: onnxruntime.InferenceSession, features: dict, prompts: int) -> np.ndarray:
        """`[prompts, candidates, rows, columns]`."""
        values = self._prompts(features, prompts)
        feeds = features | {edge.name: values[edge.name] for edge in self.named}
        (masks,) = decoder.run([self.spec.logits[0]], feeds)
        return masks.reshape(-1, *masks.shape[-3:])

    def _prompts(self, features: dict, prompts: int) -> dict[str, np.ndarray]:
        corners = np.array([[0.2, 0.1], [0.7, 0.8]], np.float32) * self.side
        rows, columns = min(value.shape[-2:] for value in features.values() if value.ndim == 4)
        each = prompts if self.spec is KINDS["sam2"] else 1
        return {
            "point_coords": np.tile(corners, (prompts, 1, 1)),
            "point_labels": np.tile(np.array([2, 3], np.float32), (prompts, 1)),
            "mask_input": np.zeros((each, 1, 4 * rows, 4 * columns), np.float32),
            "has_mask_input": np.zeros(each, np.float32),
            "orig_im_size": np.array([4 * rows, 4 * columns], self.spec.inputs.get("orig_im_size", ("float32",))[0]),
            "batched_point_coords": np.tile(corners / 4, (1, prompts, 1, 1)),
            "batched_point_labels": np.tile(np.array([2, 3], np.float32), (1, prompts, 1)),
            "input_points": np.zeros((1, prompts, 0, 2), np.float32),
            "input_labels": np.zeros((1, prompts, 0), np.int64),
            "input_boxes": np.tile(corners.reshape(1, 1, 4), (1, prompts, 1)),
        }
