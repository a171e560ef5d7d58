"""The bundle's graphs in ONNX Runtime, driven from Python: features stay on the device by IO binding."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime

from .contender import Task, main


def prepare(task: Task):
    graphs = json.loads((task.bundle / "glip.json").read_text())["graphs"]
    sessions = {name: _open(task, graph["file"]) for name, graph in graphs.items()}
    pixels, ids = task.pixels(), task.input_ids()
    return lambda: _ground(task, sessions, pixels, ids)


def _open(task: Task, file: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    provider = "CPUExecutionProvider"
    if task.device != "cpu":
        # As the crate has it: heuristics, since pictures have many sizes, and float32 that is float32.
        settings = {"device_id": task.device_index, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
        provider = ("CUDAExecutionProvider", settings)
    session = onnxruntime.InferenceSession(str(task.bundle / file), options, providers=[provider])
    expected = provider if isinstance(provider, str) else provider[0]
    if expected not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime does not use {expected}: see its message above")
    return session


def _ground(task: Task, sessions: dict, pixels: np.ndarray, ids: np.ndarray) -> None:
    mask = np.ones_like(ids)
    pyramid = _run(task, sessions["image_encoder"], {"pixels": pixels}, kept=True)
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
