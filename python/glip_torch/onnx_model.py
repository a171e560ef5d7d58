"""A bundle run by ONNX Runtime, in the shape of `model.GLIP`: what measures one measures the other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .config import Recommended
from .head import HeadOutput
from .onnx_graph import OnnxGraph
from .postprocess import PostprocessOptions


@dataclass(frozen=True)
class BundleConfig:
    """What measuring needs of the manifest."""

    strides: tuple[int, ...]
    anchor_sizes: tuple[int, ...]


class OnnxGLIP:
    """The graphs in `folder` as the stages of a GLIP."""

    def __init__(self, folder: Path, threads: int = 0):
        manifest = json.loads((folder / "glip.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        anchors = manifest["anchors"] if manifest["format_version"] == 1 else manifest["head"]
        self.config = BundleConfig(tuple(anchors["strides"]), tuple(anchors["sizes"]))
        postprocess = dict(manifest["postprocess"])
        threshold = postprocess.pop("score_threshold")
        resize = manifest["image"]["resize"]
        self.recommended = Recommended(resize["short_side"], resize["long_side"], threshold)
        self.postprocess = PostprocessOptions(**postprocess)
        self.tokenizer = Tokenizer.from_file(str(folder / manifest["text"]["tokenizer"]))
        files = {name: folder / graph["file"] for name, graph in manifest["graphs"].items() if graph is not None}
        grid = files.pop("grid", None)
        self._graphs = {
            name: OnnxGraph(file, grid if name == "image_encoder" else None, options) for name, file in files.items()
        }

    def eval(self) -> OnnxGLIP:
        return self

    def image_encoder(self, pixels: Tensor) -> list[Tensor]:
        return self._run("image_encoder", pixels)

    def text_encoder(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        if "text_encoder" not in self._graphs:
            raise ValueError("the bundle has no text encoder: export it without --without-text-encoder to ask it words")
        hidden, embedded = self._run("text_encoder", input_ids, attention_mask)
        return hidden, embedded

    def fuse(self, pyramid: list[Tensor], hidden: Tensor, attention_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        if "fusion" not in self._graphs:
            return pyramid, hidden * attention_mask[..., None]
        *levels, text = self._run("fusion", *pyramid, hidden, attention_mask)
        return levels, text

    def head(self, levels: list[Tensor], text: Tensor) -> HeadOutput:
        return HeadOutput(*self._run("head", *levels, text))

    def _run(self, name: str, *values: Tensor) -> list[Tensor]:
        graph = self._graphs[name]
        outputs = graph.run({name: value.numpy() for name, value in zip(graph.inputs, values, strict=True)})
        return [torch.from_numpy(output).float() for output in outputs.values()]
