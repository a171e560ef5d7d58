"""A pyramid as a GPU graph has it: as maps, or as one list of all positions, whichever is asked for.

Everything about sizes is taken once a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ..writer import GraphWriter


@dataclass
class LevelSizes:
    """The sizes of the levels, as values of the graph.

    Numbers are on the host, where the operators that want them read them. What the device reads is made of the maps: made of
    sizes, ONNX Runtime would make it on the host and copy it over each time, which waits for all that runs there, and which
    a CUDA graph replays with whatever is in the host's memory by then.
    """

    w: GraphWriter
    maps: list[str]
    batch: str
    #: Height and width of each level, `[2]`.
    sides: list[str]
    _made: dict[tuple, str] = field(default_factory=dict)

    @staticmethod
    def of(w: GraphWriter, maps: list[str]) -> LevelSizes:
        with w.scope("sizes"):
            sides = [w.op("Shape", level, start=2) for level in maps]
            return LevelSizes(w, maps, w.size(maps[0], 0), sides)

    def shape(self, level: int, channels: int) -> str:
        """Of a map with so many channels, `[4]`."""
        return self._once(("shape", level, channels), lambda: self.w.shape(self.batch, channels, self.sides[level]))

    def ones(self, level: int) -> str:
        """`[height, width]`, on the device."""
        w = self.w

        def make() -> str:
            channel = w.op("Slice", self.maps[level], w.ints(0, 0), w.ints(1, 1), w.ints(0, 1))
            return w.op("Pow", w.op("Squeeze", channel, w.ints(0, 1)), w.scalar(0.0))

        return self._once(("ones", level), make)

    def numbers(self, step: int, first: int) -> str:
        """For each position `step` times the number of its level, and `first`: `[positions]`, on the device."""
        w = self.w

        def of_level(level: int) -> str:
            return w.op("Mul", w.reshape(self.ones(level), -1), w.scalar(float(step * level)))

        def make() -> str:
            if first:
                return w.op("Add", self.numbers(step, 0), w.ints(first))
            numbers = w.op("Concat", *(of_level(level) for level in range(len(self.sides))), axis=0)
            return w.cast(numbers, torch.int64)

        return self._once(("numbers", step, first), make)

    def count(self, level: int, channels: int = 1) -> str:
        """Numbers of a map with so many channels, `[1]`."""
        w = self.w

        def make() -> str:
            if channels > 1:
                return w.op("Mul", self.count(level), w.ints(channels))
            return w.op("ReduceProd", self.sides[level], keepdims=1)

        return self._once(("count", level, channels), make)

    def _once(self, key: tuple, make: Callable[[], str]) -> str:
        if key not in self._made:
            with self.w.scope("sizes"):
                self._made[key] = make()
        return self._made[key]


class Pyramid:
    """`maps`, each `[batch, channels, h, w]`, or `positions [batch, channels, all]` are given, the others made of them.

    `channels` must be known to make maps.
    """

    def __init__(
        self,
        w: GraphWriter,
        sizes: LevelSizes | None = None,
        maps: list[str] | None = None,
        positions: str | None = None,
        channels: int | None = None,
    ):
        self._w, self._maps, self._positions, self._channels = w, maps, positions, channels
        self.sizes = LevelSizes.of(w, maps) if sizes is None else sizes

    def with_maps(self, maps: list[str]) -> Pyramid:
        return Pyramid(self._w, self.sizes, maps=maps)

    @property
    def maps(self) -> list[str]:
        if self._maps is None:
            w, count = self._w, len(self.sizes.sides)
            pieces = w.split(self._positions, [self.sizes.count(level) for level in range(count)], axis=2)
            self._maps = [
                w.op("Reshape", piece, self.sizes.shape(level, self._channels)) for level, piece in enumerate(pieces)
            ]
        return self._maps

    @property
    def positions(self) -> str:
        if self._positions is None:
            self._positions = joined(self._w, self._maps)
        return self._positions


def joined(w: GraphWriter, maps: list[str]) -> str:
    """Maps `[batch, channels, h, w]` as `[batch, channels, positions]`."""
    return w.op("Concat", *(w.reshape(level, 0, 0, -1) for level in maps), axis=2)
