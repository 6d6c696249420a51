"""Convert a checkpoint into the format of Hugging Face."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="convert_to_hf.py",
        summary="Release a checkpoint as a Hugging Face model. The input is not touched.",
        examples=[
            "python tools/convert_to_hf.py RUN/checkpoints/step-00000100 OUT --form backbone",
            "python tools/convert_to_hf.py CKPT OUT --form backbone --dtype bfloat16",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("out", type=Path, help="output directory; must not exist")
    parser.add_argument(
        "--form",
        choices=("backbone",),
        required=True,
        help="backbone: a plain LlamaForCausalLM without any sink",
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
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.export.backbone import DTYPES, export_backbone

    dtype = DTYPES[args.dtype] if args.dtype else None
    export_backbone(Checkpoint(args.checkpoint), args.out, dtype)
    print(args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
