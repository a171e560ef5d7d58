"""python -m glip_torch.export SOURCE OUT: a checkpoint, a Hugging Face folder or a model of its hub becomes a bundle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer
from torch import nn
from tqdm import tqdm

from ..config import Recommended
from ..sources import CheckpointError, Source, open_source
from ..tokenizer import build_tokenizer
from .bundle import BundleOptions, atomic_folder, bundle_files, graph_entry, manifest, write_manifest
from .check import TOLERANCE, CheckError, worst_error
from .exporters import export_model
from .graphs import Export
from .precision import PRECISIONS, write_graph

OFFICIAL_TOKENIZER = "bert-base-uncased"
VOCABULARY_ADDRESS = "https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt"


def export_bundle(
    model: nn.Module, tokenizer: Tokenizer, target: Path, options: BundleOptions, overwrite: bool = False
) -> dict[str, float]:
    """Writes the bundle, or nothing. Returns each graph's worst error against PyTorch in float32."""
    return write_bundle(model, export_model(model), tokenizer, target, options, overwrite)


def write_bundle(
    model: nn.Module, export: Export, tokenizer: Tokenizer, target: Path, options: BundleOptions, overwrite: bool
) -> dict[str, float]:
    """As `export_bundle`, of what the model's exporter has made."""
    options = options.completed(model, export)
    check_options(export, tokenizer, options)
    if not options.text_encoder:
        export = replace(export, graphs=[graph for graph in export.graphs if graph.name != "text_encoder"])
    errors, entries = {}, {}
    with atomic_folder(target, overwrite) as folder, tqdm(total=2 * len(export.graphs), unit="step") as progress:
        for graph in export.graphs:
            progress.set_description(f"export {graph.name}")
            exported = write_graph(graph, options.precision, options.device)
            for part in exported.models:
                (folder / f"{part.graph.name}.onnx").write_bytes(part.SerializeToString())
                entries |= {part.graph.name: graph_entry(part)}
            progress.update()
            progress.set_description(f"check {graph.name}")
            errors[graph.name] = worst_error(exported, graph)
            progress.update()
        _judge(errors, options.precision)
        tokenizer.save(str(folder / "tokenizer.json"))
        write_manifest(folder, manifest(model, export, options, entries, folder))
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


def load_tokenizer(found: Tokenizer | None, vocab: Path | None, name: str | None) -> Tokenizer:
    """A WordPiece tokenizer from a vocab.txt, or a pretrained one by its name or folder.

    If neither is given: the one that was found with the weights, or official's tokenizer.
    """
    if vocab is not None:
        return build_tokenizer(vocab)
    if name is None and found is not None:
        return found
    tokenizer = _pretrained(name or OFFICIAL_TOKENIZER)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _pretrained(name: str) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, use_fast=True).backend_tokenizer
    except Exception as error:  # transformers raises nearly anything
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ValueError(
            f"no tokenizer: none is beside the weights, and {name} is neither here nor to be had from the hub ({reason}). Give "
            f"--vocab vocab.txt, the words that the model was trained with, one a line: {VOCABULARY_ADDRESS} for what "
            "was trained with BERT's, as all of official's models; fetch it where there is a connection"
        ) from error


def recommendations(given: Recommended, sources: Recommended, familys: Recommended) -> Iterator[str]:
    """What a bundle recommends, and who says so."""
    for name in ("short_side", "long_side", "score_threshold"):
        value = getattr(given.filled(sources).filled(familys), name)
        if getattr(given, name) is not None:
            origin = "as given"
        elif getattr(sources, name) is not None:
            origin = "the source's"
        else:
            origin = "assumed: its publisher's, as the source does not say"
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
    parser.add_argument(
        "source",
        help="checkpoint of GLIP, Grounding DINO, MM-Grounding-DINO or LLMDet (.pth, .safetensors); a Hugging Face folder; or a "
        "name on its hub, such as iSEE-Laboratory/llmdet_tiny, which is downloaded",
    )
    parser.add_argument("out", type=Path, help="folder of the bundle, made by this program")
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--vocab", type=Path, help="BERT vocab.txt, one token a line (default: the tokenizer beside the weights)"
    )
    text.add_argument("--tokenizer", metavar="NAME_OR_DIR", help=f"default, if there is none: {OFFICIAL_TOKENIZER}")
    parser.add_argument("--text-heads", type=int, help="BERT's attention heads (default: hidden size / 64)")
    parser.add_argument("--precision", choices=PRECISIONS, default=defaults.precision)
    parser.add_argument(
        "--device", choices=("cpu", "gpu"), help="what the graphs are laid out for (default: gpu for fp16, else cpu)"
    )
    parser.add_argument("--name", help="the bundle's name (default: the folder's)")
    parser.add_argument(
        "--short-side", type=int, help="of the resized image (default: the source's, or its publisher's)"
    )
    parser.add_argument("--long-side", type=int, help="at most (default: the source's, or its publisher's)")
    parser.add_argument("--max-tokens", type=int, default=defaults.max_tokens, help="of a prompt, %(default)s")
    parser.add_argument(
        "--score-threshold",
        type=float,
        help="recommended for detections (default: the source's, or its publisher's)",
    )
    parser.add_argument(
        "--candidate-threshold",
        type=float,
        help="least score of the words alone, before centerness counts (default: the family's)",
    )
    parser.add_argument(
        "--source", dest="weights", metavar="TEXT", help="where the weights came from (default: the source's name)"
    )
    parser.add_argument("--licence", help="the weights' licence (default: the model card's, if it has one)")
    parser.add_argument(
        "--without-text-encoder", action="store_true", help="leave it out: the bundle then takes learned prompts only"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle in OUT; other files there stay")
    return parser.parse_args(arguments)


def _options(args: argparse.Namespace, source: Source) -> BundleOptions:
    return BundleOptions(
        name=args.name or args.out.name,
        precision=args.precision,
        device=args.device,
        recommended=Recommended(args.short_side, args.long_side, args.score_threshold),
        candidate_threshold=args.candidate_threshold,
        max_tokens=args.max_tokens,
        variant=source.variant,
        weights=args.weights or source.weights,
        licence=args.licence or source.licence or BundleOptions.licence,
        text_encoder=not args.without_text_encoder,
    )


def main(arguments: list[str] | None = None) -> int:
    args = _arguments(arguments)
    try:
        source = open_source(args.source, args.text_heads)
        print(source.description)
        tokenizer = load_tokenizer(source.tokenizer, args.vocab, args.tokenizer)
        options = _options(args, source)
        export = export_model(source.model)
        errors = write_bundle(source.model, export, tokenizer, args.out, options, args.overwrite)
    except (CheckpointError, CheckError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("what the bundle recommends:")
    for line in recommendations(options.recommended, source.recommended, export.recommended):
        print(f"  {line}")
    print(f"worst error against PyTorch, relative to the tensor's largest magnitude ({options.precision}):")
    for name, error in errors.items():
        print(f"  {name:<14} {error:.1e}")
    files = [args.out / name for name in bundle_files(args.out)]
    size = sum(path.stat().st_size for path in files if path.exists())
    print(f"wrote {args.out}: {source.variant}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
