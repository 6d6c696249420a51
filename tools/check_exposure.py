"""Compare what the ranks of a run logged with what its corpus and the order of its data imply."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="check_exposure.py",
        summary="Prove what a run trained on, up to its newest checkpoint: every piece of every "
        "document that was due at a step was logged at that step by one rank, once, and nothing "
        "else, over all lives of the run. The run needs report.exposure=true from its beginning.",
        examples=[
            "python tools/check_exposure.py RUN CORPUS",
            "python tools/check_exposure.py RUN CORPUS --json",
        ],
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="what it was trained on")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.data.corpus import Corpus
    from nulls_dist.unlearn.exposure_check import check_exposure

    result = asdict(check_exposure(args.run_dir, Corpus(args.corpus)))
    lines = (f"{name.removeprefix('num_').replace('_', ' ')}: {result[name]}" for name in result)
    print(json.dumps(result, indent=2) if args.json else "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run_command(main))
