"""Measure the project against a named peer and write the figures down."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, positive_int, run_command

_NAMES = ("sinks",)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="bench.py",
        summary=(
            "Measure the project against a named peer in the same run.\n"
            "  sinks   forward and backward of one MLP of the 1B model against dense-and-mask"
        ),
        examples=(
            "OMP_NUM_THREADS=1 python tools/bench.py sinks",
            "python tools/bench.py sinks --tokens 1024 --json",
        ),
    )
    parser.add_argument("name", choices=_NAMES, help="what to measure")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--out", type=Path, help="also write them to this JSON file")
    group = parser.add_argument_group("sinks")
    group.add_argument("--tokens", type=positive_int, default=2048, help="default 2048")
    group.add_argument("--repeats", type=positive_int, default=5, help="default 5")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist import durable
    from nulls_dist.benchmark.sinks_report import bench_sinks, format_sinks

    result = bench_sinks(num_tokens=args.tokens, repeats=args.repeats)
    if args.out:
        durable.write_json(args.out, result)
    print(json.dumps(result, indent=2) if args.json else format_sinks(result))


if __name__ == "__main__":
    sys.exit(run_command(main))
