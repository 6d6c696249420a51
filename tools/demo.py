"""Pretrain a small model, delete sources from it and show what is left."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import InputError

_MARK = "demo-of-nulls-dist"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="demo.py",
        summary=(
            "Build a corpus, pretrain a model on it with two processes, delete 5 percent of its\n"
            "sources, train another model without them, and show what each knows. Needs no GPU."
        ),
        examples=("python tools/demo.py", "python tools/demo.py --fast --out /tmp/demo"),
    )
    parser.add_argument(
        "--fast",
        action="store_true",
        help="smaller, about a minute on two free cores; too small for shared facts",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-out"),
        help="where everything goes (default: demo-out); an earlier demo there is replaced",
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    if args.out.exists():
        if not (args.out / _MARK).is_file():
            raise InputError(f"--out {args.out} exists and is no earlier demo; name another")
        shutil.rmtree(args.out)
    args.out.mkdir(parents=True)
    (args.out / _MARK).touch()
    from nulls_dist.benchmark.demo import FAST, FULL, run_demo

    run_demo(FAST if args.fast else FULL, args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
