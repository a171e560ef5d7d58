"""Lets a model label captions, to train another on: the teacher and the student of the GLIP paper (section 3.3).

    python -m glip_torch.data pairs pairs.jsonl captions.jsonl --images IMAGES
    python -m glip_torch.teach TEACHER.pth LABELS --data captions.jsonl --vocab vocab.txt
    python -m glip_torch.train STUDENT --data gold.jsonl LABELS ...

Captions are grounding files whose phrases have no boxes. Where a record lists no phrases, its noun phrases are found with
NLTK (pip install 'glip-torch[captions]'). Boxes that the teacher gives a score over 0.5 become truth, with their scores.

LABELS is a folder of grounding files, each of which has a part of the captions and appears when it is complete: a run that
was stopped goes on when it is started again. What was left out is counted, and listed in a report beside each file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from .checkpoint import CheckpointError, fingerprint, load_checkpoint
from .config import OFFICIAL, Recommended
from .data.convert.screen import Screening
from .data.files import BLOCK_RECORDS, open_files
from .data.grounding import DataError
from .teaching import TeachingError
from .teaching.labels import Labeller, split
from .teaching.teacher import Teacher, TeacherOptions
from .tokenizer import build_tokenizer


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glip_torch.teach", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("teacher", type=Path, help="checkpoint of the model that labels")
    parser.add_argument("out", type=Path, help="folder for the labels; one that exists is gone on with")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="FILE", help="grounding files of captions"
    )
    parser.add_argument("--vocab", type=Path, help="the teacher's vocab.txt (default: beside the checkpoint)")
    parser.add_argument("--text-heads", type=int, help="its BERT's heads (default: hidden size / 64)")
    parser.add_argument("--short-side", type=int, help="of its images (default: the checkpoint's, or 800)")
    parser.add_argument("--long-side", type=int, help="at most (default: the checkpoint's, or 1333)")
    parser.add_argument(
        "--min-score", type=float, default=Screening.min_score, help="keep boxes over it (default: 0.5)"
    )
    parser.add_argument("--nms", type=float, help="drop the lower of two boxes over this IoU (default: keep both)")
    parser.add_argument("--min-boxes", type=int, default=Screening.min_boxes, help="boxes a record needs (default: 1)")
    parser.add_argument("--part", type=int, default=1024, help="captions of a file of labels (default: 1024)")
    parser.add_argument(
        "--share", type=_share, default=(1, 1), metavar="N/OF", help="label only each OF-th part, from the N-th"
    )
    return parser.parse_args(arguments)


def _share(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r}: write N/OF, such as 2/8 for the second of eight processes")
    return int(number), int(of)


def teach(arguments: argparse.Namespace) -> str:
    """Labels whatever is not labelled yet; returns what to tell about it."""
    teacher, identity = load_teacher(arguments)
    screening = Screening(arguments.min_score, arguments.nms, arguments.min_boxes)
    part_blocks = max(1, arguments.part // BLOCK_RECORDS)
    parts = split(open_files(arguments.data), arguments.out, part_blocks)
    made_with = {"teacher": identity, **vars(teacher.options), **vars(screening), "part": part_blocks}
    data = {"data": [str(path.resolve()) for path in arguments.data], "captions": sum(part.records for part in parts)}
    note(arguments.out, made_with | data)

    labeller = Labeller(teacher, screening, f"glip {identity[:12]}")
    number, of = arguments.share
    todo = [part for part in parts[number - 1 :: of] if not part.out.exists()]
    counts = Counter()
    with tqdm(total=sum(part.records for part in todo), unit=" captions", disable=None) as bar:
        for part in todo:
            counts += labeller.run(part, bar.update)
    return summary(arguments.out, counts, len(todo), len(parts))


def load_teacher(arguments: argparse.Namespace) -> tuple[Teacher, str]:
    """The teacher, and the fingerprint of its weights."""
    model = load_checkpoint(arguments.teacher, arguments.text_heads)
    vocabulary = arguments.vocab or arguments.teacher.with_name("vocab.txt")
    if not vocabulary.exists():
        raise TeachingError(f"the vocabulary {vocabulary} does not exist: give the teacher's with --vocab")
    max_tokens = min(TeacherOptions.max_tokens, model.config.text.max_positions)
    sizes = Recommended(arguments.short_side, arguments.long_side).filled(model.recommended).filled(OFFICIAL)
    options = TeacherOptions(sizes.short_side, sizes.long_side, max_tokens)
    return Teacher(model, build_tokenizer(vocabulary), options), fingerprint(model)


def note(out: Path, description: dict) -> None:
    """Writes down what a folder's labels are made with; raises `TeachingError` if it was something else before."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "teacher.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in description if before.get(name) != description[name]]
        if differing:
            values = ", ".join(f"{name} {before.get(name)} (now {description[name]})" for name in differing)
            raise TeachingError(f"the labels in {out} were made with {values}: give the same again, or another folder")
        return
    partial = path.with_name(f"teacher.json.{os.getpid()}")
    partial.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def summary(out: Path, counts: Counter, done: int, parts: int) -> str:
    records, boxes = counts.pop("records", 0), counts.pop("boxes", 0)
    reasons = ", ".join(f"{count} x {kind}" for kind, count in sorted(counts.items()))
    left_out = f"left out: {reasons}; see {out}/*.report" if reasons else "nothing left out"
    return f"{out}: {done} of {parts} parts labelled now, {records} records with {boxes} boxes; {left_out}"


def main(arguments: list[str] | None = None) -> None:
    try:
        print(teach(parse_arguments(arguments)))
    except (TeachingError, DataError, CheckpointError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
