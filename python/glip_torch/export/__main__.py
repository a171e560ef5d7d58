"""python -m glip_torch.export CHECKPOINT OUT: an official checkpoint becomes a bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer
from torch import nn
from tqdm import tqdm

from ..checkpoint import CheckpointError, load_checkpoint
from ..config import OFFICIAL, Recommended
from ..tokenizer import build_tokenizer
from .bundle import BundleOptions, atomic_folder, bundle_files, manifest, write_manifest
from .check import TOLERANCE, CheckError, worst_error
from .exporters import export_model
from .graphs import Export
from .precision import PRECISIONS, write_graph

OFFICIAL_TOKENIZER = "bert-base-uncased"


def export_bundle(
    model: nn.Module, tokenizer: Tokenizer, target: Path, options: BundleOptions, overwrite: bool = False
) -> dict[str, float]:
    """Writes the bundle, or nothing. Returns each graph's worst error against PyTorch in float32."""
    export = export_model(model)
    options = options.completed(export)
    check_options(export, tokenizer, options)
    if not options.text_encoder:
        export = replace(export, graphs=[graph for graph in export.graphs if graph.name != "text_encoder"])
    errors = {}
    with atomic_folder(target, overwrite) as folder, tqdm(total=2 * len(export.graphs), unit="step") as progress:
        for graph in export.graphs:
            progress.set_description(f"export {graph.name}")
            exported = write_graph(graph, options.precision, options.device)
            (folder / f"{graph.name}.onnx").write_bytes(exported.SerializeToString())
            progress.update()
            progress.set_description(f"check {graph.name}")
            errors[graph.name] = worst_error(exported, graph)
            progress.update()
        _judge(errors, options.precision)
        tokenizer.save(str(folder / "tokenizer.json"))
        write_manifest(folder, manifest(model, export, options, folder))
    return errors


def check_options(export: Export, tokenizer: Tokenizer, options: BundleOptions) -> None:
    recommended = options.recommended
    if tokenizer.get_vocab_size() > export.vocabulary:
        raise ValueError(
            f"the tokenizer knows {tokenizer.get_vocab_size()} tokens, the model embeds {export.vocabulary}: "
            "give the vocabulary that the model was trained with"
        )
    if not (options.text_encoder or export.takes_learned_prompts):
        raise ValueError(
            f"--without-text-encoder leaves learned prompts alone, and there are none for {export.variant}: leave the option out"
        )
    for token, expected in export.special_tokens.items():
        if tokenizer.token_to_id(token) != expected:
            raise ValueError(
                f"the tokenizer has {token!r} as {tokenizer.token_to_id(token)}, the model as {expected}: "
                "give the vocabulary that the model was trained with"
            )
    if not 3 <= options.max_tokens <= export.positions:
        raise ValueError(f"--max-tokens {options.max_tokens} is not in 3..{export.positions}, the model's positions")
    short_side, long_side = recommended.sides
    if not 1 <= short_side <= long_side:
        raise ValueError(f"--short-side {short_side} and --long-side {long_side} do not make a size")
    thresholds = {"score": recommended.score_threshold, "candidate": options.candidate_threshold}
    for name, value in thresholds.items():
        if not 0 <= value < 1:
            raise ValueError(f"--{name}-threshold {value} is not in [0, 1)")


def load_tokenizer(checkpoint: Path, vocab: Path | None, name: str | None) -> Tokenizer:
    """A WordPiece tokenizer from a vocab.txt, or a pretrained one by its name or folder.

    If neither is given: the vocab.txt beside the checkpoint, or official's tokenizer.
    """
    beside = checkpoint.with_name("vocab.txt")
    if vocab is None and name is None and beside.exists():
        vocab = beside
    if vocab is not None:
        return build_tokenizer(vocab)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name or OFFICIAL_TOKENIZER, use_fast=True).backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def recommendations(given: Recommended, checkpoints: Recommended) -> Iterator[str]:
    """What a bundle recommends, and who says so."""
    for name in ("short_side", "long_side", "score_threshold"):
        value = getattr(given.filled(checkpoints).filled(OFFICIAL), name)
        if getattr(given, name) is not None:
            origin = "as given"
        elif getattr(checkpoints, name) is not None:
            origin = "the checkpoint's"
        else:
            origin = "assumed: official's, as the checkpoint does not say"
        yield f"--{name.replace('_', '-'):<15} {value:>5}  {origin}"


def _judge(errors: dict[str, float], precision: str) -> None:
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE[precision]}
    if wrong:
        raise CheckError(
            f"exported graphs differ from PyTorch by more than {TOLERANCE[precision]:.0e}: "
            + ", ".join(f"{name} by {error:.1e}" for name, error in wrong.items())
        )


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m glip_torch.export", description=__doc__)
    defaults = BundleOptions()
    parser.add_argument("checkpoint", type=Path, help="official-format checkpoint (.pth)")
    parser.add_argument("out", type=Path, help="folder of the bundle, made by this program")
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--vocab", type=Path, help="BERT vocab.txt, one token a line (default: the one beside the checkpoint)"
    )
    text.add_argument("--tokenizer", metavar="NAME_OR_DIR", help=f"default, if there is none: {OFFICIAL_TOKENIZER}")
    parser.add_argument("--text-heads", type=int, help="BERT's attention heads (default: hidden size / 64)")
    parser.add_argument("--precision", choices=PRECISIONS, default=defaults.precision)
    parser.add_argument(
        "--device", choices=("cpu", "gpu"), help="what the graphs are laid out for (default: gpu for fp16, else cpu)"
    )
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    parser.add_argument(
        "--short-side", type=int, help=f"of the resized image (default: the checkpoint's, or {OFFICIAL.short_side})"
    )
    parser.add_argument("--long-side", type=int, help=f"at most (default: the checkpoint's, or {OFFICIAL.long_side})")
    parser.add_argument("--max-tokens", type=int, default=defaults.max_tokens, help="of a prompt, %(default)s")
    parser.add_argument(
        "--score-threshold",
        type=float,
        help=f"recommended for detections (default: the checkpoint's, or {OFFICIAL.score_threshold})",
    )
    parser.add_argument(
        "--candidate-threshold",
        type=float,
        help="least score of the words alone, before centerness counts (default: the family's)",
    )
    parser.add_argument("--source", default=None, help="where the weights came from (default: the checkpoint's name)")
    parser.add_argument("--licence", default=defaults.licence, help="the weights' licence")
    parser.add_argument(
        "--without-text-encoder", action="store_true", help="leave it out: the bundle then takes learned prompts only"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle in OUT; other files there stay")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = _arguments(arguments)
    options = BundleOptions(
        name=args.name or args.out.name,
        precision=args.precision,
        device=args.device,
        recommended=Recommended(args.short_side, args.long_side, args.score_threshold),
        candidate_threshold=args.candidate_threshold,
        max_tokens=args.max_tokens,
        weights=args.source or args.checkpoint.name,
        licence=args.licence,
        text_encoder=not args.without_text_encoder,
    )
    try:
        model = load_checkpoint(args.checkpoint, args.text_heads)
        tokenizer = load_tokenizer(args.checkpoint, args.vocab, args.tokenizer)
        errors = export_bundle(model, tokenizer, args.out, options, args.overwrite)
    except (CheckpointError, CheckError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("what the bundle recommends:")
    for line in recommendations(options.recommended, model.recommended):
        print(f"  {line}")
    print(f"worst error against PyTorch, relative to the tensor's largest magnitude ({options.precision}):")
    for name, error in errors.items():
        print(f"  {name:<14} {error:.1e}")
    size = sum((args.out / name).stat().st_size for name in bundle_files(args.out))
    print(f"wrote {args.out}: {model.config.variant}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
