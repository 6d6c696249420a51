"""Convert a checkpoint into the format of Hugging Face."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import ConfigError


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="convert_to_hf.py",
        summary="Release a checkpoint as a Hugging Face model. The input is not touched.",
        examples=[
            "python tools/convert_to_hf.py RUN/checkpoints/step-00000100 OUT --form backbone",
            "python tools/convert_to_hf.py CKPT OUT --form backbone --dtype bfloat16",
            "python tools/convert_to_hf.py CKPT OUT --form merged --sources sources.txt",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("out", type=Path, help="output directory; must not exist")
    parser.add_argument(
        "--form",
        choices=("backbone", "merged"),
        required=True,
        help="both are a plain LlamaForCausalLM; backbone: without any sink; merged: with the "
        "sinks of the sources in --sources (with several, every text gets the sinks of all of "
        "them, which the model was not trained with)",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        help="for --form merged: UTF-8 text, one source per line, as for strip_sources.py; "
        "deleted sources are refused",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="type of the released weights (default: that of the checkpoint)",
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    if args.form == "merged" and not args.sources:
        raise ConfigError("--form merged needs --sources: a file with one source per line")
    if args.form != "merged" and args.sources:
        raise ConfigError(f"--sources is for --form merged; --form {args.form} has no sinks")
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.export.backbone import export_backbone
    from nulls_dist.export.llama import DTYPES
    from nulls_dist.export.merged import export_merged
    from nulls_dist.unlearn.plan import open_sources
    from nulls_dist.unlearn.resolve import resolve_all

    dtype = DTYPES[args.dtype] if args.dtype else None
    checkpoint = Checkpoint(args.checkpoint)
    if args.form == "backbone":
        export_backbone(checkpoint, args.out, dtype)
    else:
        source_ids = resolve_all(open_sources(checkpoint), args.sources)
        export_merged(checkpoint, args.out, source_ids, dtype)
    print(args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
