"""Delete sources from a checkpoint, offline: suppress or excise them, and report what that cost."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="strip_sources.py",
        summary="Write a checkpoint without the sources a file lists; the input is not touched.",
        examples=[
            "python tools/strip_sources.py RUN/checkpoints/step-00000100 sources.txt",
            "python tools/strip_sources.py CKPT sources.txt --mode suppress --out CKPT-suppressed",
            "python tools/strip_sources.py CKPT sources.txt --dry-run --json",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument(
        "sources",
        type=Path,
        help="UTF-8 text, one source per line: a title, alias or key, or id:..., title:..., "
        "url:..., key:...; # starts a comment line",
    )
    parser.add_argument("--out", type=Path, help="output directory (default: CKPT-stripped)")
    parser.add_argument(
        "--mode",
        choices=("excise", "suppress"),
        default="excise",
        help="excise overwrites the sources' sinks; suppress only stops routing them",
    )
    parser.add_argument(
        "--max-collateral",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="refuse if the average surviving source would lose more of its sinks (default: 0.05)",
    )
    parser.add_argument("--allow-unknown", action="store_true", help="skip unknown lines")
    parser.add_argument("--dry-run", action="store_true", help="report, write nothing")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.checkpoint.format import Grade
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.source_list import read_requests
    from nulls_dist.unlearn.plan import check_budget, open_sources, plan_deletion
    from nulls_dist.unlearn.report import build_report
    from nulls_dist.unlearn.resolve import check_resolved, matched_ids, resolve_requests
    from nulls_dist.unlearn.strip import default_output, write_stripped

    requests = read_requests(args.sources)
    checkpoint = Checkpoint(args.checkpoint)
    table = open_sources(checkpoint)
    resolutions = resolve_requests(table, requests)
    check_resolved(resolutions, allow_unknown=args.allow_unknown)
    grade = Grade.EXCISED if args.mode == "excise" else Grade.SUPPRESSED
    plan = plan_deletion(checkpoint, table, matched_ids(resolutions), grade)
    written = None
    if not args.dry_run:
        check_budget(plan, args.max_collateral)
        written = write_stripped(checkpoint, plan, args.out or default_output(args.checkpoint))
    report = build_report(checkpoint, table, resolutions, plan, written)
    print(json.dumps(report.to_dict(), indent=2) if args.json else report.to_text())
    if args.dry_run:
        check_budget(plan, args.max_collateral)  # the exit code foretells that of the real run


if __name__ == "__main__":
    sys.exit(run_command(main))
