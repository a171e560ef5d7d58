"""Captions to grounding files: part by part, so that a run goes on where it was stopped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.convert.report import Report
from ..data.convert.screen import Screening, screen
from ..data.files import Block, GroundingFile, GroundingWriter, Row
from ..data.grounding import DataError, Phrase, Record
from ..data.grounding_batches import decode
from .noun_phrases import find_noun_phrases
from .teacher import Teacher, UnusableText


@dataclass(frozen=True)
class Part:
    """Some blocks of a file of captions, and where their labels go; that file exists when the part is done, not before."""

    file: GroundingFile
    blocks: list[Block]
    out: Path

    @property
    def records(self) -> int:
        return sum(block.rows for block in self.blocks)

    def rows(self) -> Iterator[Row]:
        return (row for block in self.blocks for row in self.file.rows(block))


def split(files: list[GroundingFile], out: Path, blocks: int) -> list[Part]:
    """All files in parts of so many blocks."""
    parts = []
    for number, file in enumerate(files):
        if file.path.suffix == ".tar":
            raise DataError(
                f"{file.path} is a shard, whose images cannot be referred to: give the .jsonl file it was made of"
            )
        for first in range(0, len(file.blocks), blocks):
            name = f"{number:03}-{file.path.stem}-{first // blocks:06}.jsonl"
            parts.append(Part(file, file.blocks[first : first + blocks], out / name))
    return parts


class LeftOut(Exception):
    """A record without labels: the kind of reason, and what there is to say about it."""


class Labeller:
    """`source` is what the records say about where their labels are from."""

    def __init__(self, teacher: Teacher, screening: Screening, source: str):
        self.teacher, self.screening, self.source = teacher, screening, source

    def run(self, part: Part, advance: Callable[[int], object] = lambda captions: None) -> Counter:
        """Labels a part; returns the number of "records", of "boxes", and of what was left out by reason.

        Beside the part's file a report lists what was left out. `advance` is told of every caption that is done.
        """
        counts = Counter()
        with Report(part.out.with_suffix(".report")) as report, GroundingWriter(part.out) as writer:
            for row in part.rows():
                advance(1)
                try:
                    record = self.label(row)
                except LeftOut as left_out:
                    kind, detail = left_out.args
                    report.skip(str(row.place), kind, detail.removeprefix(f"{row.place}: "))
                    continue
                image = os.path.relpath(part.file.path.parent / record.image, part.out.parent)
                writer.write(replace(record, image=image))
                counts.update(records=1, boxes=record.box_count)
        return counts + report.counts

    def label(self, row: Row) -> Record:
        """The caption with the boxes that the teacher is sure of; raises `LeftOut` if there are too few."""
        try:
            record = row.record()
        except DataError as error:
            raise LeftOut("unusable record", str(error)) from None
        phrases = phrases_of(record)
        try:
            found = self.teacher.label(decode(row, record), record.text, [phrase.spans for phrase in phrases])
        except DataError as error:
            raise LeftOut("unusable image", str(error)) from None
        except UnusableText as error:
            raise LeftOut("unusable text", str(error)) from None
        kept = screen(replace(record, phrases=found, source=self.source), self.screening)
        if kept.box_count < self.screening.min_boxes:
            raise LeftOut("too few boxes over the score", "")
        # A phrase without boxes would be one that is known to be absent. The teacher does not know that.
        return replace(kept, phrases=tuple(phrase for phrase in kept.phrases if phrase.boxes))


def phrases_of(record: Record) -> tuple[Phrase, ...]:
    """The phrases that a caption comes with, or its noun phrases."""
    if record.text is None:
        raise LeftOut("record without a text", "")
    phrases = record.phrases or tuple(Phrase((span,)) for span in find_noun_phrases(record.text))
    if not phrases:
        raise LeftOut("text without a noun phrase", record.text)
    return phrases
