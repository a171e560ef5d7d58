"""The bundle's graphs in ONNX Runtime, driven from Python with default options."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .stopwatch import PEAK_SIZE, Stopwatch, matrix_product_peak
from .worker import peak_memory, serve


class Contender:
    def __init__(self, bundle: Path, pixels: np.ndarray, threads: int):
        self.threads = threads
        graphs = json.loads((bundle / "glip.json").read_text())["graphs"]
        self.sessions = {name: self.open(bundle / graph["file"]) for name, graph in graphs.items()}
        self.pixels = pixels
        self.pyramid: dict[str, np.ndarray] = {}
        self.outputs: dict[str, np.ndarray] = {}
        self.straight: onnxruntime.InferenceSession | None = None
        self.peak_session: onnxruntime.InferenceSession | None = None

    def open(self, graph: Path | bytes) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        graph = str(graph) if isinstance(graph, Path) else graph
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def ground(self, ids: list[int]) -> dict:
        """One image and one prompt, from start to end."""
        clock = Stopwatch()
        with clock("whole"):
            with clock("image_encoder"):
                self.pyramid = self._run("image_encoder", {"pixels": self.pixels})
            self._read(ids, clock)
        return clock.answer()

    def prompt(self, ids: list[int]) -> dict:
        """Another prompt on the same image: all but the image encoder."""
        clock = Stopwatch()
        self._read(ids, clock)
        return clock.answer()

    def _read(self, ids: list[int], clock: Stopwatch) -> None:
        ids_array = np.array([ids], dtype=np.int64)
        mask = np.ones_like(ids_array)
        with clock("text_encoder"):
            text = self._run("text_encoder", {"input_ids": ids_array, "attention_mask": mask})
        with clock("fusion"):
            fused = self._run("fusion", {**self.pyramid, "hidden": text["hidden"], "attention_mask": mask})
        with clock("head"):
            words = fused["fused_text"]
            levels = {name: value for name, value in fused.items() if name != "fused_text"}
            output = self._run("head", {**levels, "text": words})
        self.outputs = fused | output

    def image_encoder(self) -> dict:
        clock = Stopwatch()
        with clock("image_encoder"):
            self._run("image_encoder", {"pixels": self.pixels})
        return clock.answer()

    def straight_image_encoder(self, path: str) -> dict:
        """The image encoder as PyTorch's exporter writes it."""
        if self.straight is None:
            self.straight = self.open(Path(path))
            self.straight.run(None, {"pixels": self.pixels})
        clock = Stopwatch()
        with clock("image_encoder"):
            self.straight.run(None, {"pixels": self.pixels})
        return clock.answer()

    def _run(self, name: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self.sessions[name]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    def save(self, path: str) -> dict:
        """Writes the last run's outputs, for comparison."""
        np.savez(path, **self.outputs)
        return {}

    def peak(self) -> dict:
        if self.peak_session is None:
            self.peak_session = self.open(_matrix_product().SerializeToString())
        a = np.random.default_rng(0).standard_normal((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
        return matrix_product_peak(lambda: self.peak_session.run(None, {"a": a}))


def _matrix_product() -> onnx.ModelProto:
    """With a constant right side, as a layer's weights are."""
    weights = np.random.default_rng(1).standard_normal((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
    shape = [PEAK_SIZE, PEAK_SIZE]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "peak",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "b")],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--pixels", required=True, help=".npy of [1, 3, height, width]")
    parser.add_argument("--threads", type=int, default=0, help="0: ONNX Runtime's default")
    arguments = parser.parse_args()
    pixels = np.load(arguments.pixels)
    start = time.perf_counter()
    contender = Contender(arguments.bundle, pixels, arguments.threads)
    handlers = {
        "ground": contender.ground,
        "prompt": contender.prompt,
        "image_encoder": contender.image_encoder,
        "straight_image_encoder": contender.straight_image_encoder,
        "save": contender.save,
        "peak": contender.peak,
        "memory": peak_memory,
    }
    serve({"load_seconds": time.perf_counter() - start}, handlers)


if __name__ == "__main__":
    main()
