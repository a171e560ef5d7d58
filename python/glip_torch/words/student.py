"""The text encoder of a small GLIP, taught what words mean.

Its lower layers learn to place names where the sentence encoder places them; what those give, the last layer and the head turn
into what to look for in an image. So a word that nobody connected with a class is understood as far as it is placed near one.
"""

from __future__ import annotations

import json
import string
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from ..config import SEPARATOR
from ..data.batches import pad_encodings
from ..head import GroundingHead
from ..text_encoder import TextEncoder
from ..tokenizer import SPECIAL_TOKENS, phrase_tokens
from ..training.initialise import set_dropout
from .coco_names import CLASSES
from .phrases import ENDINGS, FRAMES, LINKS, OF_OBJECTS, OPENINGS, QUALITIES, TaughtText, framed, sentence
from .teacher import MeaningDraw, SeenLocations, logits_at
from .wordnet import NamedMeaning, nonsense

#: Tokens of a short text, at most.
SHORT = 9


def choose_vocabulary(meanings: list[NamedMeaning], names: int, tokenizer: Tokenizer, size: int) -> list[str]:
    """The pieces of the sentence encoder's vocabulary that matter most here, in its order, which is that of frequency.

    All that names, frames and spelling need, and every word for a thing; then words by how often nouns have them and how common
    they are.
    """
    order = tokenizer.get_vocab()
    texts = [meaning.text for meaning in meanings[:names]]
    texts += [frame.format("") for frame in FRAMES] + QUALITIES + OF_OBJECTS + LINKS + OPENINGS + ENDINGS
    needed = {token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).tokens}
    characters = string.ascii_lowercase + string.digits
    needed |= {*SPECIAL_TOKENS, *string.punctuation, *characters, *(f"##{character}" for character in characters)}
    needed |= {meaning.text for meaning in meanings if meaning.is_thing}
    needed &= order.keys()
    counts: Counter[str] = Counter()
    for encoding, meaning in zip(
        tokenizer.encode_batch([m.text for m in meanings], add_special_tokens=False), meanings, strict=True
    ):
        counts.update({token: 4 if meaning.classes else 1 for token in encoding.tokens})
    plain = {token: count for token, count in counts.items() if token.removeprefix("##").isalpha() and token.isascii()}
    others = [token for token in plain if token not in needed]
    by_worth = sorted(others, key=lambda token: -plain[token] / (order[token] + 2000) ** 0.7)
    needed |= set(by_worth[: max(0, size - len(needed))])
    ranked = sorted(needed, key=order.__getitem__)
    return [*SPECIAL_TOKENS, *(token for token in ranked if token not in SPECIAL_TOKENS)][:size]


#: How many more times a single word is drawn than a name of several.
SINGLE = 6
#: Words before this place in the vocabulary are about as common as one another.
COMMON = 300


def shares(meanings: list[NamedMeaning], tokenizer: Tokenizer) -> np.ndarray:
    """How often to draw each text: common words more often, as the vocabulary's order tells, single words most."""
    encodings = tokenizer.encode_batch([meaning.text for meaning in meanings], add_special_tokens=False)
    weights = [(SINGLE if len(encoding.ids) == 1 else 1) / (max(encoding.ids) + COMMON) for encoding in encodings]
    return np.array(weights) / sum(weights)


def boundaries(vocabulary: list[str]) -> tuple[int, ...]:
    """What parts phrases: the beginning and the end of a prompt, and dots."""
    return tuple(vocabulary.index(token) for token in ("[CLS]", "[SEP]", SEPARATOR.strip()))


@dataclass(frozen=True)
class StudentSettings:
    steps: int = 3000
    texts: int = 128
    locations: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: int = 200
    #: Shares of texts that are sentences, and of single names that have words around them.
    sentences: float = 0.15
    frames: float = 0.5
    #: Share of texts drawn from all there are, with the teacher's answers, and not from those whose meaning is known.
    any_text: float = 0.55
    #: Weight of the distance from the sentence encoder.
    placement: float = 1.0


class Student(nn.Module):
    """The text encoder and the head's text side, which are kept, and what places names, which is not."""

    def __init__(self, text_encoder: TextEncoder, head: GroundingHead, width: int):
        super().__init__()
        self.text_encoder, self.head = text_encoder, head
        self.place = nn.Linear(text_encoder.bert.config.hidden_size, width)
        self._below: Tensor | None = None
        # There are more texts than it can learn by heart.
        set_dropout(text_encoder, 0.0)
        # What the last layer reads.
        text_encoder.bert.encoder.layer[-1].register_forward_pre_hook(self._keep)

    def _keep(self, _module: nn.Module, inputs: tuple) -> None:
        self._below = inputs[0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Of every token: what to look for `[batch, tokens, code + 1]`, and its place `[batch, tokens, width]`."""
        hidden, _ = self.text_encoder(input_ids, attention_mask)
        queries, bias = self.head.queries(hidden)
        return torch.cat([queries, bias[..., None]], dim=2), self.place(self._below)


@dataclass
class Lessons:
    """What is known of each text: `meanings`, the first `names` of which are names of classes; the sentence encoder's
    `places`, and the `answers` of the map."""

    meanings: list[NamedMeaning]
    names: int
    places: Tensor  #: `[texts, width]`
    answers: Tensor  #: `[texts, code + 1]`
    seen: SeenLocations
    #: How often each text is drawn where any of them is, `[texts]`, adding up to 1.
    shares: np.ndarray

    def any(self, rng: np.random.Generator) -> int:
        """One of all texts."""
        return min(int(np.searchsorted(self._upper_ends, rng.random())), len(self.meanings) - 1)

    @cached_property
    def _upper_ends(self) -> np.ndarray:
        return np.cumsum(self.shares)

    def targets(self, indices: list[int], sample: Tensor) -> Tensor:
        """How likely each of the sampled locations holds what each of the texts means, `[indices, sample]`.

        Names of classes mean them; of everything else the map's answer is taken, which is learned from many words.
        """
        features = self.seen.features[sample]
        targets = logits_at(self.answers[indices], features).sigmoid()
        for row, index in enumerate(indices):
            classes = self.meanings[index].classes
            if index < self.names and classes is not None:
                targets[row] = self.seen.presence(classes, sample)
        return targets


def teach(
    student: Student, tokenizer: Tokenizer, lessons: Lessons, settings: StudentSettings, log: Path, seed: int = 0
) -> None:
    """Trains the student in place; `log` gets a line every hundred steps."""
    torch.manual_seed(seed)
    rng, draw = np.random.default_rng(seed), MeaningDraw(lessons.meanings, lessons.names)
    optimizer = torch.optim.AdamW(
        student.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    code = lessons.seen.features.shape[1]
    started, sums = time.monotonic(), torch.zeros(2)
    for step in range(settings.steps):
        rate = settings.learning_rate * min(1, (step + 1) / settings.warm_up) * (1 - step / settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        texts = [_draw_text(rng, draw, lessons, settings) for _ in range(settings.texts)]
        sample = torch.from_numpy(rng.integers(len(lessons.seen.features), size=settings.locations))
        wanted, places, names = _answers(student, tokenizer, texts)
        logits = logits_at(torch.cat([wanted[:, :code], wanted[:, -1:]], dim=1), lessons.seen.features[sample])
        meaning = F.binary_cross_entropy_with_logits(logits, lessons.targets(names, sample))
        distance = (1 - F.cosine_similarity(places, lessons.places[names], dim=1)).mean()
        optimizer.zero_grad()
        (10 * meaning + settings.placement * distance).backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        sums += torch.stack([meaning.detach(), distance.detach()])
        if (step + 1) % 100 == 0:
            line = {"step": step + 1, "seconds": round(time.monotonic() - started)}
            line |= {name: round(value / 100, 5) for name, value in zip(("meaning", "distance"), sums.tolist())}
            with log.open("a", encoding="utf-8") as file:
                print(json.dumps(line), file=file)
            sums.zero_()
    student.eval()


def _draw_text(rng: np.random.Generator, draw: MeaningDraw, lessons: Lessons, settings: StudentSettings) -> TaughtText:
    def name() -> tuple[str, int]:
        index = lessons.any(rng) if rng.random() < settings.any_text else draw.draw(rng)
        return lessons.meanings[index].text, index

    if rng.random() < settings.sentences:
        return sentence(rng, [name() for _ in range(rng.integers(2, 5))])
    text, index = name()
    if rng.random() < settings.frames:
        is_person = lessons.meanings[index].classes == (CLASSES.index("person"),)
        return framed(rng, text, index, of_object=not is_person)
    return TaughtText(text, (((0, len(text)), index),))


def _answers(student: Student, tokenizer: Tokenizer, texts: list[TaughtText]) -> tuple[Tensor, Tensor, list[int]]:
    """What the student says to every token that is taught, and the meaning of each: wanted, places, indices."""
    pairs = [(text, tokenizer.encode(text.text)) for text in texts]
    # Short and long texts apart, so that little is padding.
    wanted, places, names = [], [], []
    for group in ([pair for pair in pairs if (len(pair[1].ids) > SHORT) == long] for long in (False, True)):
        if group:
            group_texts, encodings = zip(*group)
            rows, columns, indices = _taught_tokens(group_texts, encodings)
            group_wanted, group_places = student(*pad_encodings(list(encodings)))
            wanted.append(group_wanted[rows, columns])
            places.append(group_places[rows, columns])
            names += indices
    return torch.cat(wanted), torch.cat(places), names


def _taught_tokens(
    texts: Sequence[TaughtText], encodings: Sequence[Encoding]
) -> tuple[list[int], list[int], list[int]]:
    """Rows, columns and meanings of all tokens that are taught."""
    taught = [
        (row, column, index)
        for row, (text, encoding) in enumerate(zip(texts, encodings))
        for span, index in text.names
        for column in phrase_tokens(encoding, *span)
    ]
    rows, columns, names = (list(values) for values in zip(*taught))
    return rows, columns, names


def reduced_embeddings(embeddings: Tensor, width: int) -> Tensor:
    """Word embeddings in fewer numbers: their first principal components, of the usual size."""
    centred = embeddings - embeddings.mean(0)
    _, _, components = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ components[:width].T
    return 0.05 * reduced / reduced.std()


#: How much more the classes' names count than any other text when the head is fitted.
NAME_WEIGHT = 5.0
#: The bias of what is found nowhere.
SILENT = -8.0


@torch.no_grad()
def fit_names(
    text_encoder: TextEncoder,
    head: GroundingHead,
    tokenizer: Tokenizer,
    lessons: Lessons,
    codes: Tensor,
    texts: int = 8000,
) -> None:
    """Fits the head's linear layer so that names of the classes look for just what the detector's own layer does.

    The least squares of two things: names, plurals and framed names give their class' `codes [classes, code]`, a sample of other
    texts give what they gave before, and words that are none are found nowhere.
    """
    rng = np.random.default_rng(0)
    exact = [
        (frame.format(meaning.text), meaning.classes[0])
        for meaning in lessons.meanings[: lessons.names]
        if meaning.classes is not None and len(meaning.classes) == 1
        for frame in ("{}", "a {}", "a photo of a {}")
    ]
    named, counts = _states(text_encoder, tokenizer, [text for text, _ in exact])
    wanted = F.pad(codes[[index for _, index in exact]], (0, 1)).repeat_interleave(counts, dim=0)
    others, _ = _states(text_encoder, tokenizer, [lessons.meanings[lessons.any(rng)].text for _ in range(texts)])
    nothing, _ = _states(text_encoder, tokenizer, [meaning.text for meaning in nonsense(texts // 4)])

    code = codes.shape[1]
    projection = head.dot_product_projection_text
    scale = head.log_scale.exp()
    weight = torch.cat([projection.weight[:code] / (2 * scale), head.bias_lang[None]])
    bias = torch.cat([projection.bias[:code] / scale, head.bias0])
    before = torch.cat([weight, bias[:, None]], dim=1).double()
    inputs = F.pad(torch.cat([named, others, nothing]), (0, 1), value=1.0).double()
    silent = torch.zeros(len(nothing), code + 1).double()
    silent[:, -1] = SILENT
    outputs = torch.cat([wanted.double(), F.pad(others, (0, 1), value=1.0).double() @ before.T, silent])
    weights = torch.ones(len(inputs)).double()
    weights[: len(named)] = NAME_WEIGHT * len(others) / len(named)
    gram = (inputs * weights[:, None]).T @ inputs
    # The least change where texts leave a direction open.
    ridge = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram)).double()
    fitted = torch.linalg.solve(gram + ridge, (inputs * weights[:, None]).T @ outputs + ridge @ before.T).T.float()
    projection.weight[:code] = fitted[:code, :-1] * 2 * scale
    projection.bias[:code] = fitted[:code, -1] * scale
    head.bias_lang.copy_(fitted[code, :-1])
    head.bias0.copy_(fitted[code, -1:])


def _states(text_encoder: TextEncoder, tokenizer: Tokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    """What the head reads of every token of the texts `[tokens, width]`, and how many each text has."""
    encodings = [tokenizer.encode(text) for text in texts]
    counts = torch.tensor([len(encoding.ids) - 2 for encoding in encodings])
    states: list[Tensor | None] = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
    for first in range(0, len(order), 256):
        indices = order[first : first + 256]
        hidden, _ = text_encoder(*pad_encodings([encodings[index] for index in indices]))
        for row, index in enumerate(indices):
            states[index] = F.normalize(hidden[row, 1 : 1 + counts[index]], dim=-1)
    return torch.cat(states), counts
