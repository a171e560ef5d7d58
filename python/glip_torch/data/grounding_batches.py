"""Batches of grounding files as tensors. A batch is a function of (files, seed, step, rank) alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from ..losses import Targets
from ..postprocess import to_inclusive
from ..preprocess import SIZE_DIVISOR, normalise, resized_size
from ..tokenizer import phrase_tokens
from .batches import Batch, pad_encodings
from .files import Row
from .grounding import DataError, Header, Record
from .grounding_prompts import Named, PromptMaker, PromptOptions
from .pictures import in_frame
from .stream import BUFFER_RECORDS, GroundingData

#: A record that cannot be read leaves its place to the one a step later, that one to the next, and so on up to here.
MAX_SUBSTITUTES = 100
#: Mirroring an image makes these words wrong.
SIDES = frozenset({"left", "right", "leftmost", "rightmost", "clockwise", "counterclockwise"})


@dataclass(frozen=True)
class ImageOptions:
    """Sizes that images are resized to in training; the defaults are official's."""

    #: One of them is drawn for each step, so that the images of a batch are of one size.
    short_sides: tuple[int, ...] = (480, 560, 640, 720, 800)
    long_side: int = 1333
    #: Chance to mirror an image whose text says nothing of left and right.
    flip: float = 0.5


@dataclass(frozen=True)
class Skipped:
    """A record that could not be used, and why."""

    file: str
    line: int | str
    reason: str


@dataclass
class Example:
    pixels: Tensor  #: `[3, height, width]`, not padded
    encoding: Encoding
    boxes: Tensor  #: `[boxes, 4]` in pixels of the network's input
    tokens: Tensor  #: `[boxes, tokens]`, the tokens that mean each box
    doubtful: tuple[Tensor, Tensor]  #: the same of doubtful boxes
    name: str


class GroundingBatches(torch.utils.data.Dataset):
    """Micro-batch `index` of this rank: `index` counts all micro-batches of the run, those of a step one after the other.

    Each has `size` examples; `step_batches` micro-batches make a step. All ranks together take `size * ranks` records in
    their order, so that one process with the batch of several sees the same steps.
    """

    def __init__(
        self,
        paths: list[Path],
        tokenizer: Tokenizer,
        seed: int,
        size: int,
        rank: int = 0,
        ranks: int = 1,
        step_batches: int = 1,
        prompts: PromptOptions | None = None,
        images: ImageOptions | None = None,
        buffer: int = BUFFER_RECORDS,
    ):
        self.data = GroundingData(paths, seed, buffer)
        self.maker = PromptMaker(tokenizer, prompts)
        self.images = images or ImageOptions()
        self.seed, self.size, self.rank, self.ranks, self.step_batches = seed, size, rank, ranks, step_batches

    def __getitem__(self, index: int) -> Batch:
        step = index // self.step_batches
        sides = self.images.short_sides
        short_side = sides[np.random.default_rng([self.seed, 2, step]).integers(len(sides))]
        first, skipped = (index * self.ranks + self.rank) * self.size, []
        examples = [self._example(first + place, short_side, skipped) for place in range(self.size)]
        return collate(examples, tuple(skipped))

    def _example(self, position: int, short_side: int, skipped: list[Skipped]) -> Example:
        for _ in range(MAX_SUBSTITUTES):
            row, header = self.data.at(position)
            try:
                return self._load(row, header, position, short_side)
            except DataError as error:
                reason = str(error).removeprefix(f"{row.place}: ")
                skipped.append(Skipped(str(row.place.file), row.place.line, reason))
            position += self.size * self.ranks * self.step_batches
        raise DataError(
            f"{MAX_SUBSTITUTES} records in a row cannot be used, the last one because: {skipped[-1].reason}: "
            "run `python -m glip_torch.data check` on the files"
        )

    def _load(self, row: Row, header: Header, position: int, short_side: int) -> Example:
        record = row.record()
        rng = np.random.default_rng([self.seed, 1, position])
        prompt = self.maker.make(rng, record, header, row.place)
        mirrored = rng.random() < self.images.flip and not SIDES & set(prompt.text.lower().replace(".", " ").split())
        image = decode(row, record)
        size = resized_size(*image.size, short_side, self.images.long_side)
        picture = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        scale = torch.tensor([size[0] / record.width, size[1] / record.height] * 2)

        def placed(boxes: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
            return mirror(boxes * scale, size[0]) if mirrored else boxes * scale, tokens

        if mirrored:
            picture = picture[:, ::-1]
        boxes, tokens = placed(*targets_of(prompt.positives, prompt.encoding))
        doubtful = placed(*targets_of(prompt.doubtful, prompt.encoding))
        return Example(normalise(picture), prompt.encoding, boxes, tokens, doubtful, str(row.place))


def decode(row: Row, record: Record) -> Image.Image:
    """The record's image as RGB; raises `DataError` if it cannot be read or has another size than the record says.

    If it has that size only as its EXIF orientation turns it, it is turned.
    """
    content = row.images.read(record.image, row.place)
    try:
        image = Image.open(io.BytesIO(content))
        framed = in_frame(image, (record.width, record.height))
        pixels = (framed or image).convert("RGB")
    except Exception as error:  # noqa: BLE001 (Pillow raises nearly anything for a broken file)
        reason = "no format that Pillow knows" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{row.place}: image {record.image} cannot be decoded ({reason}): replace it") from None
    if framed is None:
        raise DataError(
            f"{row.place}: image {record.image} is {image.width} x {image.height}, but listed as "
            f"{record.width} x {record.height}: correct the record"
        )
    return pixels


def targets_of(named: Named, encoding: Encoding) -> tuple[Tensor, Tensor]:
    """All boxes `[boxes, 4]`, and the tokens that mean each `[boxes, tokens]`.

    Boxes are inclusive here, as the losses take them, and in pixels of the record's image.
    """
    boxes = [box for _, meant in named for box in meant]
    tokens = torch.zeros(len(boxes), len(encoding.ids), dtype=torch.bool)
    first = 0
    for spans, meant in named:
        for span in spans:
            words = phrase_tokens(encoding, *span)
            tokens[first : first + len(meant), words.start : words.stop] = True
        first += len(meant)
    return to_inclusive(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)).float(), tokens


def mirror(boxes: Tensor, width: int) -> Tensor:
    """Boxes in the image seen in a mirror; their last columns belong to them."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - 1 - x2, y1, width - 1 - x1, y2], dim=1)


def collate(examples: list[Example], skipped: tuple[Skipped, ...] = ()) -> Batch:
    """Images are padded to the largest (with zeros, as official does), prompts to the longest, boxes to the most."""
    height, width = (max(example.pixels.shape[side] for example in examples) for side in (1, 2))
    height, width = height + -height % SIZE_DIVISOR, width + -width % SIZE_DIVISOR
    input_ids, attention_mask = pad_encodings([example.encoding for example in examples])
    words = input_ids.shape[1]
    boxes, valid, tokens = _padded([(example.boxes, example.tokens) for example in examples], words)
    doubtful_boxes, _, doubtful_tokens = _padded([example.doubtful for example in examples], words)
    targets = Targets(boxes, valid, tokens, doubtful_boxes, doubtful_tokens)
    pixels = torch.stack(
        [F.pad(e.pixels, (0, width - e.pixels.shape[2], 0, height - e.pixels.shape[1])) for e in examples]
    )
    names = tuple(example.name for example in examples)
    return Batch(pixels, input_ids, attention_mask, targets, names=names, skipped=skipped)


def _padded(examples: list[tuple[Tensor, Tensor]], words: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, which of them are real, and their tokens, of examples padded to the one with the most boxes."""
    most = max(1, max(len(boxes) for boxes, _ in examples))
    all_boxes = torch.zeros(len(examples), most, 4)
    valid = torch.zeros(len(examples), most, dtype=torch.bool)
    all_tokens = torch.zeros(len(examples), most, words, dtype=torch.bool)
    for n, (boxes, tokens) in enumerate(examples):
        all_boxes[n, : len(boxes)] = boxes
        valid[n, : len(boxes)] = True
        all_tokens[n, : len(boxes), : tokens.shape[1]] = tokens
    return all_boxes, valid, all_tokens


class SkipReport:
    """A file with a line for each record that was skipped, once, and their number; a resumed run goes on with its file."""

    def __init__(self, path: Path):
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.path, self._seen = path, {(entry["file"], entry["line"]) for entry in map(json.loads, lines)}

    @property
    def count(self) -> int:
        return len(self._seen)

    def add(self, skipped: Skipped) -> None:
        if (skipped.file, skipped.line) in self._seen:
            return
        self._seen.add((skipped.file, skipped.line))
        with self.path.open("a", encoding="utf-8") as file:
            print(json.dumps(vars(skipped), ensure_ascii=False), file=file)
