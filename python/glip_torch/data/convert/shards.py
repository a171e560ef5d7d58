"""Grounding files to tar shards, images included, so that training reads large files one after the other."""

from __future__ import annotations

from pathlib import Path

from ..files import ShardWriter, open_files
from ..grounding import DataError, Header
from ..grounding_batches import decode
from .report import Report


def write_shards(paths: list[Path], out: Path, size: int, report: Report) -> int:
    """Writes shards of `size` records into the folder `out`; returns the number of records.

    Records and images that cannot be read are left out.
    """
    if list(out.glob("*.tar")):
        raise DataError(f"{out} has shards already: give an empty folder")
    files = open_files(paths)
    header = Header(tuple(dict.fromkeys(name for file in files for name in file.header.categories)))
    with ShardWriter(out, header, size) as writer:
        for row in (row for file in files for block in file.blocks for row in file.rows(block)):
            try:
                record = row.record()
                decode(row, record)
                writer.write(record, row.images.read(record.image, row.place))
            except DataError as error:
                report.skip(str(row.place), "unusable record", str(error).removeprefix(f"{row.place}: "))
    return writer.records
