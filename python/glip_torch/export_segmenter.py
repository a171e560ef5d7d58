"""python -m glip_torch.export_segmenter SOURCE OUT: a model of Segment Anything's kind becomes a segmenter's folder.

SOURCE is a checkpoint of SAM or MobileSAM, a Hugging Face folder of SAM, SAM 2 or SAM 2.1, or a model's name on its hub. For a pair
of ONNX files that are there already: --encoder X --decoder Y --kind KIND OUT.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .export.check import CheckError
from .segmenter.bundle import PRECISIONS, SegmenterOptions, export_segmenter
from .segmenter.importer import KINDS, import_segmenter
from .segmenter.sources import open_source
from .tensor_files import CheckpointError


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m glip_torch.export_segmenter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="[SOURCE] OUT", help="the model, and the folder to make")
    parser.add_argument("--encoder", type=Path, help="ONNX file that takes the image")
    parser.add_argument("--decoder", type=Path, help="ONNX file that takes boxes")
    parser.add_argument("--kind", choices=sorted(KINDS), help="what kind of pair they are")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of what is exported (default: fp32)")
    parser.add_argument("--name", help="the segmenter's name (default: the folder's)")
    parser.add_argument(
        "--source", dest="weights", metavar="TEXT", help="where the weights came from (default: the source's name)"
    )
    parser.add_argument("--licence", help="the weights' licence (default: the model card's, if it has one)")
    parser.add_argument("--overwrite", action="store_true", help="replace the segmenter in OUT; other files there stay")
    args = parser.parse_args(arguments)
    pair = [args.encoder, args.decoder, args.kind]
    if any(pair) and not all(pair):
        parser.error("--encoder, --decoder and --kind go together")
    if len(args.paths) != (1 if all(pair) else 2):
        parser.error("give SOURCE and OUT, or OUT alone with --encoder, --decoder and --kind")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = _arguments(arguments)
    out = Path(args.paths[-1])
    try:
        if args.encoder:
            options = SegmenterOptions(
                name=args.name or out.name,
                weights=args.weights or args.encoder.name,
                licence=args.licence or SegmenterOptions.licence,
            )
            for line in import_segmenter(args.encoder, args.decoder, args.kind, out, options, args.overwrite):
                print(line)
        else:
            source = open_source(args.paths[0])
            options = SegmenterOptions(
                name=args.name or out.name,
                precision=args.precision,
                weights=args.weights or source.weights,
                licence=args.licence or source.licence or SegmenterOptions.licence,
            )
            errors = export_segmenter(source.model, out, options, args.overwrite)
            for name, error in errors.items():
                print(f"{name}: {error:.1e} from PyTorch, relative to the largest magnitude")
    except (CheckpointError, CheckError, OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"wrote {out}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
