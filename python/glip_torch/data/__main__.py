"""Training data in the grounding format: `python -m glip_torch.data COMMAND`.

    coco INSTANCES.json OUT.jsonl --images DIR        COCO's or LVIS' annotations
    flickr30k FOLDER OUT.jsonl --images DIR           Flickr30K Entities (Sentences, Annotations)
    pairs PAIRS.jsonl OUT.jsonl --images DIR          images and captions without boxes, for a teacher (glip_torch.teach)
    screen LABELS.jsonl ... --out OUT.jsonl           labels of a model: keep what it was sure of
    reword FILE.jsonl ... --out OUT.jsonl             COCO's classes in as many words as people have for them
    shards FILE.jsonl ... --out FOLDER                tar shards with the images
    scenes FOLDER                                     rendered scenes, to try things with
    check FILE ...                                    reads everything, images included

What has to be left out is counted, and listed in a report beside the output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ..words.coco_names import CLASSES
from .convert.coco import CocoSource
from .convert.flickr30k import FlickrSource
from .convert.pairs import PairSource
from .convert.report import Report
from .convert.reword import RewordedSource, Rewording, foreign_nouns
from .convert.scenes import SceneSource
from .convert.screen import LabelledSource, Screening
from .convert.shards import write_shards
from .files import GroundingWriter, open_files
from .grounding import DataError, Header
from .grounding_batches import decode


class Source(Protocol):
    header: Header

    def records(self, report: Report): ...


def write(source: Source, out: Path) -> str:
    """Writes all records of a source; returns what to tell about it."""
    with Report(out.with_name(out.name + ".report")) as report, GroundingWriter(out, source.header) as writer:
        boxes = 0
        for record in tqdm(source.records(report), unit=" records", desc=out.name, disable=None):
            writer.write(record)
            boxes += record.box_count
        if not writer.records:
            raise DataError(f"no records for {out}: {report.summary()}")
    return f"{out}: {writer.records} records, {boxes} boxes; {report.summary()}"


def coco(arguments: argparse.Namespace) -> str:
    source = CocoSource(arguments.instances, arguments.images, arguments.out.parent, arguments.keep_empty)
    return write(source, arguments.out)


def flickr30k(arguments: argparse.Namespace) -> str:
    return write(FlickrSource(arguments.folder, arguments.images, arguments.out.parent, arguments.ids), arguments.out)


def pairs(arguments: argparse.Namespace) -> str:
    return write(PairSource(arguments.pairs, arguments.images, arguments.out.parent), arguments.out)


def screen(arguments: argparse.Namespace) -> str:
    screening = Screening(arguments.min_score, arguments.nms, arguments.min_boxes)
    return write(LabelledSource(arguments.files, arguments.out.parent, screening), arguments.out)


def reword(arguments: argparse.Namespace) -> str:
    complete = CLASSES if arguments.complete == ["all"] else arguments.complete
    unknown = [name for name in complete if name not in CLASSES]
    if unknown:
        raise DataError(f"--complete {unknown[0]!r} is no class of COCO: give some of {', '.join(CLASSES)}, or all")
    foreign = foreign_nouns(arguments.wordnet) if arguments.wordnet else []
    rewording = Rewording(arguments.copies, frozenset(complete), seed=arguments.seed)
    return write(RewordedSource(arguments.files, arguments.out.parent, rewording, foreign), arguments.out)


def shards(arguments: argparse.Namespace) -> str:
    with Report(arguments.out / "shards.report") as report:
        records = write_shards(arguments.files, arguments.out, arguments.records, report)
    return f"{arguments.out}: {records} records; {report.summary()}"


def scenes(arguments: argparse.Namespace) -> str:
    out = arguments.folder / f"{arguments.kind}.jsonl"
    captions = arguments.kind == "captions"
    return write(SceneSource(arguments.folder, arguments.count, arguments.seed, arguments.side, captions), out)


def check(arguments: argparse.Namespace) -> str:
    """Reads everything; raises `DataError` with all problems if there are any."""
    problems, records = [], 0
    for file in open_files(arguments.files):
        for row in tqdm((row for block in file.blocks for row in file.rows(block)), unit=" records", disable=None):
            records += 1
            try:
                decode(row, row.record())
            except DataError as error:
                problems.append(str(error))
    if problems:
        raise DataError("\n".join([*problems, f"{len(problems)} of {records} records cannot be used"]))
    return f"{records} records, all of them good"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glip_torch.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, **positional: str) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__)
        added.set_defaults(run=run)
        for name, text in positional.items():
            added.add_argument(name, type=Path, help=text)
        return added

    added = command(coco, instances="COCO's or LVIS' JSON of instances", out="the .jsonl file to write")
    added.add_argument("--images", type=Path, required=True, help="folder of the images")
    added.add_argument("--keep-empty", action="store_true", help="keep images without boxes, as pure negatives")
    added = command(flickr30k, folder="folder with Sentences and Annotations", out="the .jsonl file to write")
    added.add_argument("--images", type=Path, required=True, help="folder of the images")
    added.add_argument("--ids", type=Path, help="file with the ids of a split, one a line (default: all)")
    added = command(pairs, pairs='lines of {"image": ..., "caption": ...}', out="the .jsonl file to write")
    added.add_argument("--images", type=Path, required=True, help="folder of the images")
    added = command(screen)
    added.add_argument("files", type=Path, nargs="+", help="grounding files with scores")
    added.add_argument("--out", type=Path, required=True, help="the .jsonl file to write")
    added.add_argument(
        "--min-score", type=float, default=Screening.min_score, help="keep boxes over this (default: 0.5)"
    )
    added.add_argument("--nms", type=float, help="drop the lower of two boxes over this IoU (default: keep both)")
    added.add_argument("--min-boxes", type=int, default=Screening.min_boxes, help="boxes a record needs (default: 1)")
    added = command(reword)
    added.add_argument("files", type=Path, nargs="+", help="grounding files whose categories are COCO's")
    added.add_argument("--out", type=Path, required=True, help="the .jsonl file to write")
    added.add_argument("--copies", type=int, default=Rewording.copies, help="of each record (default: 4)")
    added.add_argument(
        "--complete", nargs="+", default=[], help="classes that were looked for in every image, or all (default: none)"
    )
    added.add_argument("--wordnet", type=Path, help="WordNet's folder dict, for nouns that are not there")
    added.add_argument("--seed", type=int, default=0)
    added = command(shards)
    added.add_argument("files", type=Path, nargs="+", help="grounding files")
    added.add_argument("--out", type=Path, required=True, help="folder for the shards")
    added.add_argument("--records", type=int, default=1000, help="records of a shard (default: 1000)")
    added = command(scenes, folder="folder for the file and its images")
    added.add_argument("--kind", choices=("detection", "captions"), default="detection")
    added.add_argument("--count", type=int, default=100)
    added.add_argument("--seed", type=int, default=5001)
    added.add_argument("--side", type=int, default=192, help="width and height of the pictures (default: 192)")
    added = command(check)
    added.add_argument("files", type=Path, nargs="+", help="grounding files, shards, or folders of them")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    parsed = parse_arguments(arguments)
    try:
        print(parsed.run(parsed))
    except DataError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
