"""Import the released weights of NULLs, so that every tool works on them."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="import_reference.py",
        summary="Write a released NULLs model as a checkpoint of this project. The input is not "
        "touched, and nothing in it is executed.",
        examples=[
            "python tools/import_reference.py final --titles title_to_index.pkl --out imported",
            "python tools/import_reference.py final --titles t.json --out imported --ids int64",
        ],
    )
    parser.add_argument(
        "release",
        type=Path,
        metavar="LITGPT_DIR",
        help="directory with lit_model.pth, model_config.yaml and tokenizer.json",
    )
    parser.add_argument(
        "--titles",
        type=Path,
        required=True,
        metavar="FILE",
        help="index of each title: .json, one object from titles to numbers; .pkl, the release's "
        "own (read, never unpickled); else text, one title per line, from index 0",
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint; must not exist")
    parser.add_argument(
        "--ids",
        choices=("int32", "int64"),
        default="int32",
        help="integer type of the ids in training; int32, said to be the release's, gives about 98 "
        "articles of Wikipedia the same sinks",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.released.checkpoint import import_release
    from nulls_dist.released.report import describe_import, format_import

    import_release(args.release, args.titles, args.out, id_dtype=args.ids)
    report = describe_import(args.out)
    print(json.dumps(report.to_dict(), indent=2) if args.json else format_import(report))


if __name__ == "__main__":
    sys.exit(run_command(main))
