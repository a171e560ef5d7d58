"""Files of the grounding format: JSON Lines beside their images, and tar shards that hold both.

A shard is laid out as the package webdataset lays them out, `KEY.json` (the record) beside `KEY.jpg` (its image), with the
file's header as the member `header.json`. Nothing here keeps more than a block of records in memory.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from .grounding import DataError, Header, Place, Record, header_line, parse_header, parse_record, record_line

if TYPE_CHECKING:
    from typing_extensions import Self

#: Records of a JSON Lines file that are read together.
BLOCK_RECORDS = 256
HEADER_MEMBER = "header.json"


class Images(Protocol):
    """Where the images of records are."""

    def read(self, name: str, place: Place) -> bytes: ...


@dataclass(frozen=True)
class ImageFolder:
    folder: Path

    def read(self, name: str, place: Place) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise DataError(
                f"{place}: image {self.folder / name} cannot be read ({error.strerror}): paths are relative to the file"
            ) from None


@dataclass(frozen=True)
class ImageMembers:
    """Members of a tar file, as offset and size of their content."""

    file: Path
    members: dict[str, tuple[int, int]]

    def read(self, name: str, place: Place) -> bytes:
        if name not in self.members:
            raise DataError(f"{place}: the shard has no member {name!r}: records and their images share a shard")
        offset, size = self.members[name]
        with self.file.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass(frozen=True)
class Row:
    """A record that is not parsed yet."""

    place: Place
    line: bytes
    images: Images
    #: Of the format.
    version: int

    def record(self) -> Record:
        return parse_record(self.line, self.place, self.version)


@dataclass(frozen=True)
class Block:
    """Rows that are read together: their number, and where in the file they begin (byte and line)."""

    rows: int
    offset: int = 0
    line: int = 1


class GroundingFile(Protocol):
    path: Path
    header: Header
    #: Which rows the file has; few numbers for many rows.
    blocks: list[Block]

    def rows(self, block: Block) -> list[Row]: ...


class JsonLines:
    """A JSON Lines file; its images are files."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with path.open("rb") as file:
                first = file.readline()
                self.header = parse_header(first, Place(path, 1))
                self.blocks = list(_line_blocks(file, len(first)))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None

    def rows(self, block: Block) -> list[Row]:
        images, rows = ImageFolder(self.path.parent), []
        with self.path.open("rb") as file:
            file.seek(block.offset)
            for number, line in enumerate(file, block.line):
                if line.strip():
                    rows.append(Row(Place(self.path, number), line, images, self.header.version))
                if len(rows) == block.rows:
                    return rows
        raise DataError(f"{self.path} has become shorter while it was read: leave it alone during a run")


def _line_blocks(file: io.BufferedReader, offset: int) -> Iterator[Block]:
    """Blocks of the lines from `offset` on; empty lines are no rows."""
    rows, begin, first = 0, offset, 2
    for number, line in enumerate(file, 2):
        offset += len(line)
        rows += bool(line.strip())
        if rows == BLOCK_RECORDS:
            yield Block(rows, begin, first)
            rows, begin, first = 0, offset, number + 1
    if rows:
        yield Block(rows, begin, first)


class TarShard:
    """A tar file of records and their images; one block."""

    def __init__(self, path: Path):
        self.path = path
        header, records = None, 0
        for member, file in _members(path):
            if member.name == HEADER_MEMBER:
                header = file.extractfile(member).read()
            records += member.name.endswith(".json") and member.name != HEADER_MEMBER
        if header is None:
            raise DataError(
                f"{path} has no member {HEADER_MEMBER}: make shards with `python -m glip_torch.data shards`"
            )
        self.header = parse_header(header, Place(path, HEADER_MEMBER))
        self.blocks = [Block(records)] if records else []

    def rows(self, block: Block) -> list[Row]:
        lines, images = [], {}
        for member, file in _members(self.path):
            if member.name.endswith(".json") and member.name != HEADER_MEMBER:
                lines.append((member.name, file.extractfile(member).read()))
            elif member.isfile():
                images[member.name] = (member.offset_data, member.size)
        if len(lines) != block.rows:
            raise DataError(f"{self.path} has changed while it was read: leave it alone during a run")
        members = ImageMembers(self.path, images)
        return [Row(Place(self.path, name), line, members, self.header.version) for name, line in lines]


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    try:
        # "r:" takes no compressed archives: their members cannot be found without reading all before them.
        with tarfile.open(path, "r:") as file:
            for member in file:
                yield member, file
    except tarfile.TarError as error:
        raise DataError(f"{path} is no tar shard ({error}): shards are not compressed, and copied as a whole") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def open_files(paths: list[Path]) -> list[GroundingFile]:
    """Opens JSON Lines files, tar shards, and folders of either, in that order."""
    files: list[GroundingFile] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix in (".jsonl", ".tar"))
            if not inside:
                raise DataError(f"folder {path} has no .jsonl or .tar files: convert a data set first")
            files += open_files(inside)
        else:
            files.append(TarShard(path) if path.suffix == ".tar" else JsonLines(path))
    return files


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file or a folder of files, checked, one after the other."""
    for row in read_rows(path):
        yield row.record()


def read_rows(path: Path) -> Iterator[Row]:
    for file in open_files([path]):
        for block in file.blocks:
            yield from file.rows(block)


# --- writing --------------------------------------------------------------------------------------------------------


class GroundingWriter:
    """Writes a JSON Lines file record by record. It appears under its name when it is complete, not before.

    with GroundingWriter(Path("train.jsonl"), Header(("dog", "cat"))) as writer:
        writer.write(record)
    """

    def __init__(self, path: Path, header: Header | None = None):
        self.path, self.partial, self.records = path, path.with_name(path.name + ".partial"), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.partial.open("w", encoding="utf-8")
        print(header_line(header or Header()), file=self._file)

    def write(self, record: Record) -> None:
        print(record_line(record), file=self._file)
        self.records += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        self._file.close()
        if error is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink()


class ShardWriter:
    """Writes tar shards of `size` records with their images into a folder; each appears when it is complete."""

    def __init__(self, folder: Path, header: Header | None = None, size: int = 1000):
        self.folder, self.header, self.size, self.records = folder, header or Header(), size, 0
        folder.mkdir(parents=True, exist_ok=True)
        self._shard: tarfile.TarFile | None = None

    def write(self, record: Record, image: bytes) -> None:
        """Adds a record and its image; inside the shard the image gets a name of its own."""
        if self._shard is None:
            self._begin()
        key = f"{self.records:09}"
        member = key + Path(record.image).suffix
        content = json.loads(record_line(record)) | {"image": member}
        self._add(key + ".json", json.dumps(content, ensure_ascii=False).encode())
        self._add(member, image)
        self.records += 1
        if self.records % self.size == 0:
            self._end()

    def _path(self) -> Path:
        return self.folder / f"shard-{(max(self.records, 1) - 1) // self.size:06}.tar"

    def _begin(self) -> None:
        self._partial = self.folder / "shard.partial"
        self._shard = tarfile.open(self._partial, "w:")  # noqa: SIM115 (it stays open over several calls)
        self._add(HEADER_MEMBER, header_line(self.header).encode())

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._shard.addfile(member, io.BytesIO(content))

    def _end(self) -> None:
        self._shard.close()
        self._shard = None
        os.replace(self._partial, self._path())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None):
        if self._shard is None:
            return
        if error is None:
            self._end()
        else:
            self._shard.close()
            self._partial.unlink()
