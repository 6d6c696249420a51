"""Check the report of a deletion against a checkpoint: signature, ledger, files, excised values."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nulls_dist.cli import CommandParser, run_command

if TYPE_CHECKING:
    from nulls_dist.unlearn.proof import Proof


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="verify_deletion.py",
        summary="Prove that what the report of a deletion says is true of a checkpoint.",
        examples=[
            "python tools/verify_deletion.py RUN/deletions/0000/report.json CKPT-stripped",
            "python tools/verify_deletion.py report.json CKPT --public-key key.pub.pem "
            "--ledger ledger.jsonl",
        ],
    )
    parser.add_argument("report", type=Path, help="report.json of the deletion")
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("--public-key", type=Path, help="PEM file of the key that must have signed")
    parser.add_argument("--ledger", type=Path, help="ledger that must hold the deletion")
    parser.add_argument("--json", action="store_true", help="what was found, as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.unlearn.proof import prove_deletion

    proof = prove_deletion(
        args.report, args.checkpoint, ledger=args.ledger, public_key=args.public_key
    )
    print(json.dumps(asdict(proof), indent=2) if args.json else _format(proof))


def _format(proof: "Proof") -> str:
    key = "the key named" if proof.key_expected else "compare it with the one you were given"
    same = "the one of the report" if proof.is_same else "another one, deleted from likewise"
    ledger = (
        "not looked at; name one with --ledger"
        if proof.ledger_sequence is None
        else f"entry {proof.ledger_sequence}, chain and signatures hold"
    )
    lines = (
        f"signature   holds, by {proof.public_key} ({key})",
        f"ledger      {ledger}",
        f"checkpoint  {same}; {proof.num_files} files have their checksums",
        f"sources     {proof.num_sources}, each with a tombstone",
        f"sinks       {_format_sinks(proof)}",
        f"OK: the report holds; its sources are {proof.grade}",
    )
    return "\n".join(lines)


def _format_sinks(proof: "Proof") -> str:
    if proof.num_values:
        return f"{proof.num_values} values are as recorded"
    return "no value was overwritten: the weights of the sources are still in the files"


if __name__ == "__main__":
    sys.exit(run_command(main))
