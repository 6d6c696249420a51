"""Check a corpus completely: python -m data_prep.verify CORPUS."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command

logger = logging.getLogger("data_prep.verify")


def build_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = CommandParser(
        prog="python -m data_prep.verify",
        summary="Read a whole corpus and check every promise of its format.",
        examples=("python -m data_prep.verify enwiki",),
    )
    parser.add_argument("corpus", type=Path, help="corpus directory")
    return parser


def main(argv: Sequence[str]) -> None:
    """Verify a corpus from command-line arguments; damage ends with exit code 5."""
    args = build_parser().parse_args(argv)
    from data_prep.verification import verify_corpus  # heavy, after --help

    manifest = verify_corpus(args.corpus)
    logger.info(
        "OK: %s: %d files, %d sources, %d documents, %d tokens",
        args.corpus,
        len(manifest.files) + 1,
        manifest.num_sources,
        manifest.num_documents,
        manifest.num_tokens,
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
