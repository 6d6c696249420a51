"""Verify a checkpoint: checksums, tensors, optimizer state, source table, excised rows."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="verify_checkpoint.py",
        summary="Read every file of a checkpoint and prove that it is whole.",
        examples=[
            "python tools/verify_checkpoint.py RUN/checkpoints/step-00000100",
            "python tools/verify_checkpoint.py CKPT-stripped --json",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.checkpoint.completeness import check_tensors
    from nulls_dist.checkpoint.format import DATA_FILE, RUN_FILE
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.data.tokenizer import load_tokenizer
    from nulls_dist.durable import read_json
    from nulls_dist.export.release import tokenizer_record
    from nulls_dist.unlearn.plan import open_sources
    from nulls_dist.unlearn.strip import verify_excisions

    checkpoint = Checkpoint(args.checkpoint)
    records = list(checkpoint.verify())
    num_parameters = check_tensors(checkpoint)
    open_sources(checkpoint)
    load_tokenizer(checkpoint.root, tokenizer_record(checkpoint))
    for name in (RUN_FILE, DATA_FILE):
        read_json(checkpoint.path(name))
    num_verified, num_values = verify_excisions(checkpoint)
    result = {
        "checkpoint": str(args.checkpoint),
        "step": checkpoint.manifest.step,
        "num_files": len(records),
        "num_bytes": sum(record.num_bytes for record in records),
        "num_parameters": num_parameters,
        "num_deleted_sources": len(checkpoint.manifest.tombstones),
        "num_excisions_verified": num_verified,
        "num_excised_values_verified": num_values,
    }
    lines = (f"{name.removeprefix('num_').replace('_', ' ')}: {result[name]}" for name in result)
    print(json.dumps(result, indent=2) if args.json else "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run_command(main))
