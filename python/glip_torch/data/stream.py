"""The order in which records are trained on: shuffled, the same for any number of processes, and found from a number.

Every record has a position in one endless order: epoch after epoch, in each epoch every record once. Files are read in
blocks; the blocks of all files are shuffled, then the records of some blocks at a time, as many as the buffer holds. Who
needs a record asks for its position. So processes and workers share the records out by arithmetic, nothing is lost or seen
twice, a run goes on from any step at once, and memory holds two buffers of unparsed lines however large the data is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import Block, GroundingFile, Row, open_files
from .grounding import DataError, Header

#: Records that are shuffled together. About a kilobyte each.
BUFFER_RECORDS = 8192


#: Records in their shuffled order, each with its file's header.
Group = list[tuple[Row, Header]]


@dataclass(frozen=True)
class Epoch:
    """An epoch's blocks in their order, cut into groups that are shuffled inside."""

    #: Group n holds the blocks `blocks[begins[n]:begins[n + 1]]` and the records from `firsts[n]` on.
    blocks: np.ndarray
    begins: np.ndarray
    firsts: np.ndarray


class GroundingData:
    """All records of some files, by position. A file that is given twice is seen twice in an epoch."""

    def __init__(self, paths: list[Path], seed: int, buffer: int = BUFFER_RECORDS):
        self.seed, self.buffer = seed, buffer
        self.files = open_files(paths)
        self._blocks: list[tuple[GroundingFile, Block]] = [
            (file, block) for file in self.files for block in file.blocks
        ]
        self._rows = np.array([block.rows for _, block in self._blocks], np.int64)
        #: Records of an epoch.
        self.records = int(self._rows.sum())
        if not self.records:
            raise DataError(f"there are no records in {', '.join(map(str, paths))}: nothing can be learned from them")
        # Two of each: batches reach over their ends.
        self._epochs: dict[int, Epoch] = {}
        self._groups: dict[tuple[int, int], Group] = {}

    def at(self, position: int) -> tuple[Row, Header]:
        """The record at a position of the endless order, and the header of its file."""
        number, place = divmod(position, self.records)
        epoch = _kept(self._epochs, number, lambda: self._lay_out(number))
        n = int(np.searchsorted(epoch.firsts, place, side="right")) - 1
        group = _kept(self._groups, (number, n), lambda: self._read_group(number, epoch, n))
        return group[place - epoch.firsts[n]]

    def _lay_out(self, number: int) -> Epoch:
        blocks = np.random.default_rng([self.seed, number]).permutation(len(self._blocks))
        ends = np.cumsum(self._rows[blocks])
        begins = [0]
        while begins[-1] < len(blocks):
            seen = ends[begins[-1] - 1] if begins[-1] else 0
            # At least one block, however large, and no more blocks than fit.
            begins.append(max(begins[-1] + 1, int(np.searchsorted(ends, seen + self.buffer, side="right"))))
        firsts = np.concatenate([[0], ends])[begins[:-1]]
        return Epoch(blocks, np.array(begins), firsts)

    def _read_group(self, number: int, epoch: Epoch, n: int) -> Group:
        chosen = epoch.blocks[epoch.begins[n] : epoch.begins[n + 1]]
        rows = [
            (row, file.header) for file, block in (self._blocks[index] for index in chosen) for row in file.rows(block)
        ]
        return [rows[i] for i in np.random.default_rng([self.seed, number, n]).permutation(len(rows))]


def _kept(cache: dict, key, make: Callable):
    """The cache's entry, made if it is not there; the cache holds the two that were made last."""
    if key not in cache:
        if len(cache) == 2:
            del cache[next(iter(cache))]
        cache[key] = make()
    return cache[key]
