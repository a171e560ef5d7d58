"""The bundle's graphs in ONNX Runtime, driven from Python: features stay on the device by IO binding, and so does what
depends on the size of the pixels alone, which is computed once."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime

from .contender import Task, main


def prepare(task: Task):
    manifest = json.loads((task.bundle / "glip.json").read_text())
    features = np.dtype(manifest["features"]["type"])
    files = {name: graph["file"] for name, graph in manifest["graphs"].items() if graph is not None}
    sessions = {name: _open(task, file, features == np.float16) for name, file in files.items()}
    pixels, ids = task.pixels().astype(features), task.input_ids()
    grid = {}
    if "grid" in sessions:
        size = np.array([task.batch, task.height, task.width], np.int64)
        grid = _run(task, sessions["grid"], {"size": size}, kept=True)
    return lambda: _ground(task, sessions, {"pixels": pixels, **grid}, ids)


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


def _ground(task: Task, sessions: dict, image: dict, ids: np.ndarray) -> None:
    mask = np.ones_like(ids)
    pyramid = _run(task, sessions["image_encoder"], image, kept=True)
    # The crate encodes one prompt for all images of a batch.
    text = _run(task, sessions["text_encoder"], {"input_ids": ids[:1], "attention_mask": mask[:1]}, kept=False)
    hidden = np.repeat(text["hidden"].numpy(), task.batch, axis=0)
    fused = _run(task, sessions["fusion"], {**pyramid, "hidden": hidden, "attention_mask": mask}, kept=True)
    words = fused.pop("fused_text")
    _run(task, sessions["head"], {**fused, "text": words}, kept=False)


def _run(task: Task, session: onnxruntime.InferenceSession, feeds: dict, kept: bool) -> dict:
    """Outputs that are `kept` stay on the device."""
    binding = session.io_binding()
    for name, value in feeds.items():
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(name, value)
        else:
            binding.bind_ortvalue_input(name, value)
    names = [output.name for output in session.get_outputs()]
    for name in names:
        if kept and task.device != "cpu":
            binding.bind_output(name, "cuda", task.device_index)
        else:
            binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding)
    return dict(zip(names, binding.get_outputs(), strict=True))


if __name__ == "__main__":
    main(prepare)
