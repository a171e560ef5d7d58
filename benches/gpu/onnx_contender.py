"""The bundle's graphs in ONNX Runtime, driven from Python: features stay on the device by IO binding, and so does what
depends on the size of the pixels alone, which is computed once."""

from __future__ import annotations

import json
import re

import numpy as np
import onnxruntime

from .contender import Task, main

#: Feature maps, which stay on the device; what else a graph gives goes to the host.
MAP = re.compile(r".*_\d+")


def prepare(task: Task):
    manifest = json.loads((task.bundle / "glip.json").read_text())
    features = np.dtype(manifest["features"]["type"])
    files = {name: graph["file"] for name, graph in manifest["graphs"].items() if graph is not None}
    sessions = {name: _open(task, file, features == np.float16) for name, file in files.items()}
    image = {"pixels": task.pixels().astype(features)}
    if "grid" in sessions:
        height, width = image["pixels"].shape[2:]
        image |= _run(task, sessions["grid"], {"size": np.array([task.batch, height, width], np.int64)}, kept=True)
    prompt, prompts = task.prompt(), task.prompts()
    return lambda: _ground(task, sessions, image, prompt, prompts)


def _open(task: Task, file: str, half: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    provider = "CPUExecutionProvider"
    if task.device != "cpu":
        # As the crate has it: heuristics, since pictures have many sizes, and float32 that is float32. In halves, without
        # TF32 there would be no tensor cores.
        settings = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": str(int(half))}
        # The sums of a half-precision residual and its norms are then taken in float32.
        settings |= {"enable_skip_layer_norm_strict_mode": "1"}
        provider = ("CUDAExecutionProvider", {"device_id": task.device_index, **settings})
    session = onnxruntime.InferenceSession(str(task.bundle / file), options, providers=[provider])
    expected = provider if isinstance(provider, str) else provider[0]
    if expected not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime does not use {expected}: see its message above")
    return session


def _ground(task: Task, sessions: dict, image: dict, prompt: dict, prompts: dict) -> None:
    pyramid = _run(task, sessions["image_encoder"], image)
    # The crate encodes one prompt for all images of a batch.
    states = _run(task, sessions["text_encoder"], prompt)
    states = {name: np.repeat(values.numpy(), task.batch, axis=0) for name, values in states.items()}
    fused = _run(task, sessions["fusion"], {**pyramid, **prompts, **states})
    # What is fused and no map takes the place of what it was made of.
    words = {name.removeprefix("fused_"): value for name, value in fused.items() if not MAP.fullmatch(name)}
    _run(task, sessions["head"], {**prompts, **states, **fused, **words})


def _run(task: Task, session: onnxruntime.InferenceSession, values: dict, kept: bool = False) -> dict:
    """Of the values the graph takes those that it has inputs for. With `kept`, all outputs stay on the device."""
    binding = session.io_binding()
    for port in session.get_inputs():
        value = values[port.name]
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(port.name, value)
        else:
            binding.bind_ortvalue_input(port.name, value)
    names = [output.name for output in session.get_outputs()]
    for name in names:
        if task.device != "cpu" and (kept or MAP.fullmatch(name)):
            binding.bind_output(name, "cuda", task.device_index)
        else:
            binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.get_outputs(), strict=True))


if __name__ == "__main__":
    main(prepare)
