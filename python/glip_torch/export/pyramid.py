"""A pyramid as a CPU's graph has it: as maps, or as one list of all positions, whichever is asked for."""

from __future__ import annotations

from .writer import GraphWriter


class Pyramid:
    """`maps`, each `[batch, channels, h, w]`, or `positions [batch, all, channels]` are given, the others made of them.

    `like` are maps of the same sizes.
    """

    def __init__(self, w: GraphWriter, like: list[str], *, maps: list[str] | None = None, positions: str | None = None):
        self._w, self._like, self._maps, self._positions = w, like, maps, positions

    @staticmethod
    def of(w: GraphWriter, maps: list[str]) -> Pyramid:
        return Pyramid(w, maps, maps=maps)

    def with_maps(self, maps: list[str]) -> Pyramid:
        return Pyramid(self._w, self._like, maps=maps)

    def with_positions(self, positions: str) -> Pyramid:
        return Pyramid(self._w, self._like, positions=positions)

    @property
    def maps(self) -> list[str]:
        if self._maps is None:
            self._maps = maps_of(self._w, self._positions, self._sides)
        return self._maps

    @property
    def positions(self) -> str:
        if self._positions is None:
            self._positions, _ = self._w.positions(self._maps)
        return self._positions

    @property
    def sizes(self) -> str:
        """Height and width of each level, `[levels, 2]`."""
        return self._w.reshape(self._w.op("Concat", *self._sides, axis=0), -1, 2)

    @property
    def _sides(self) -> list[str]:
        return [self._w.sides(level) for level in self._like]

    def __len__(self) -> int:
        return len(self._like)


def maps_of(w: GraphWriter, positions: str, sides: list[str]) -> list[str]:
    """Positions `[batch, all, channels]` as maps of these sides, each `[2]`."""
    return w.levels(positions, [w.op("ReduceProd", of_level, keepdims=1) for of_level in sides], sides)
