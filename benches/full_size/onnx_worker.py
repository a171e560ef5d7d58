"""The bundle's graphs in ONNX Runtime, driven from Python with default options."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from glip_torch.onnx_graph import run_grid

from .stopwatch import PEAK_SIZE, Stopwatch, matrix_product_peak
from .worker import peak_memory, serve

#: Runs that a profile is the mean of, after one that is not counted.
PROFILED_RUNS = 2
#: Operators whose time is that of the graphs within them.
WITH_GRAPHS = ("If", "Loop", "Scan")


class Contender:
    """Graphs are fed by name: with the image, the prompt, and what the graphs before gave."""

    def __init__(self, bundle: Path, pixels: np.ndarray, threads: int):
        self.threads = threads
        manifest = json.loads((bundle / "glip.json").read_text())
        files = {name: bundle / graph["file"] for name, graph in manifest["graphs"].items() if graph is not None}
        grid = files.pop("grid", None)
        self.files = files
        self.sessions = {name: self.open(file) for name, file in self.files.items()}
        self.pixels = {"pixels": pixels.astype(manifest["features"]["type"])}
        if grid is not None:
            self.pixels |= run_grid(self.open(grid), pixels.shape)
        self.pyramid: dict[str, np.ndarray] = {}
        self.outputs: dict[str, np.ndarray] = {}
        #: What each graph was last run with.
        self.feeds: dict[str, dict[str, np.ndarray]] = {}
        self.straight: onnxruntime.InferenceSession | None = None
        self.peak_session: onnxruntime.InferenceSession | None = None

    def open(self, graph: Path | bytes, profile: Path | None = None) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        graph = str(graph) if isinstance(graph, Path) else graph
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def ground(self, prompt: str) -> dict:
        """One image and one prompt, from start to end."""
        values = dict(np.load(prompt))
        clock = Stopwatch()
        with clock("whole"):
            with clock("image_encoder"):
                self.pyramid = self._run("image_encoder", self.pixels)
            self._read(values, clock)
        return clock.answer()

    def prompt(self, prompt: str) -> dict:
        """Another prompt on the same image: all but the image encoder."""
        values = dict(np.load(prompt))
        clock = Stopwatch()
        self._read(values, clock)
        return clock.answer()

    def _read(self, prompt: dict[str, np.ndarray], clock: Stopwatch) -> None:
        values = self.pyramid | prompt
        with clock("text_encoder"):
            values |= self._run("text_encoder", values)
        with clock("fusion"):
            fused = self._run("fusion", values)
        with clock("head"):
            # The head takes fused words by the name of words.
            words = {name.removeprefix("fused_"): value for name, value in fused.items()}
            output = self._run("head", values | fused | words)
        self.outputs = fused | output

    def image_encoder(self) -> dict:
        clock = Stopwatch()
        with clock("image_encoder"):
            self._run("image_encoder", self.pixels)
        return clock.answer()

    def straight_image_encoder(self, path: str) -> dict:
        """The image encoder as PyTorch's exporter writes it."""
        if self.straight is None:
            self.straight = self.open(Path(path))
            self.straight.run(None, self.pixels)
        clock = Stopwatch()
        with clock("image_encoder"):
            self.straight.run(None, self.pixels)
        return clock.answer()

    def _run(self, name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self.sessions[name]
        self.feeds[name] = {port.name: values[port.name] for port in session.get_inputs()}
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, self.feeds[name]), strict=True))

    def profile(self) -> dict:
        """Of each graph, with what it was last run with: seconds of a run by operator."""
        return {name: self._profile(file, self.feeds[name]) for name, file in self.files.items()}

    def _profile(self, file: Path, feeds: dict[str, np.ndarray]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            session = self.open(file, Path(folder) / "profile")
            for _ in range(1 + PROFILED_RUNS):
                session.run(None, feeds)
            events = json.loads(Path(session.end_profiling()).read_text())
        return by_operator(events)

    def save(self, path: str) -> dict:
        """Writes the last run's outputs, for comparison."""
        np.savez(path, **self.outputs)
        return {}

    def peak(self) -> dict:
        if self.peak_session is None:
            self.peak_session = self.open(_matrix_product().SerializeToString())
        a = np.random.default_rng(0).standard_normal((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
        return matrix_product_peak(lambda: self.peak_session.run(None, {"a": a}))


def by_operator(events: list[dict]) -> dict[str, float]:
    """Seconds of a run, most first, from a profile of runs of which the first is not counted."""
    warm = sorted(event["ts"] for event in events if event["name"] == "model_run")[1]
    seconds: Counter[str] = Counter()
    for event in events:
        if event["ts"] < warm or event["cat"] != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        operator = event["args"]["op_name"]
        if operator not in WITH_GRAPHS:
            seconds[operator] += event["dur"] / 1e6 / PROFILED_RUNS
    return dict(seconds.most_common())


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
        "profile": contender.profile,
        "save": contender.save,
        "peak": contender.peak,
        "memory": peak_memory,
    }
    serve({"load_seconds": time.perf_counter() - start}, handlers)


if __name__ == "__main__":
    main()
