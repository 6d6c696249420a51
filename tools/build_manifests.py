"""Write what a checkpoint holds of its sources: sinks, bytes of every file, shared sinks."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="build_manifests.py",
        summary="Describe a checkpoint and, one by one, the sources a file lists, in JSON.",
        examples=[
            "python tools/build_manifests.py RUN/checkpoints/step-00000100 --out manifests",
            "python tools/build_manifests.py CKPT sources.txt --out manifests",
            "python tools/build_manifests.py CKPT --out manifests --all",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument(
        "sources",
        type=Path,
        nargs="?",
        help="UTF-8 text, one source per line, as for strip_sources.py; each gets its own manifest "
        "(deleted sources too)",
    )
    parser.add_argument("--out", type=Path, required=True, help="output directory; must not exist")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also write the sinks of all sources into one Parquet file (large: layers times "
        "active sinks numbers per source)",
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_intermixed_args(argv)
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.unlearn.manifests import write_manifests
    from nulls_dist.unlearn.plan import open_sources
    from nulls_dist.unlearn.resolve import resolve_all

    checkpoint = Checkpoint(args.checkpoint)
    table = open_sources(checkpoint)
    named = resolve_all(table, args.sources) if args.sources else []
    write_manifests(checkpoint, table, args.out, named=named, include_all=args.all)
    print(args.out)


if __name__ == "__main__":
    sys.exit(run_command(main))
