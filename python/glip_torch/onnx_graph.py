"""One graph of a bundle in ONNX Runtime: fed in float32, whatever its edges are, and with its grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

#: NumPy's names of the types that inputs may have.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxGraph:
    """`grid` is the graph of the inputs that depend on the size of the pixels alone, where there is one."""

    def __init__(
        self, graph: Path | bytes, grid: Path | bytes | None = None, options: onnxruntime.SessionOptions | None = None
    ):
        self.session = _opened(graph, options)
        self._grid = None if grid is None else _opened(grid, options)

    @property
    def inputs(self) -> list[str]:
        """Those that are not the grid's."""
        return [port.name for port in self.session.get_inputs() if not self._is_grids(port.name)]

    def run(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name. Of the values the graph takes those that it has inputs for."""
        given = values | self._grid_of(values)
        feeds = {port.name: _as(given[port.name], port.type) for port in self.session.get_inputs()}
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, feeds), strict=True))

    def _is_grids(self, name: str) -> bool:
        return self._grid is not None and name.startswith("grid_")

    def _grid_of(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._grid is None:
            return {}
        return run_grid(self._grid, values["pixels"].shape)


def run_grid(session: onnxruntime.InferenceSession, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What the grid gives for pixels of this shape, by name."""
    size = np.array([shape[0], shape[2], shape[3]], np.int64)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"size": size}), strict=True))


def _opened(graph: Path | bytes, options: onnxruntime.SessionOptions | None) -> onnxruntime.InferenceSession:
    graph = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _as(value: np.ndarray, type: str) -> np.ndarray:
    return value.astype(_TYPES[type], copy=False) if type in _TYPES else value
