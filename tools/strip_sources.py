"""Delete sources from a checkpoint, offline: suppress or excise them, and report what that cost."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import ConfigError

if TYPE_CHECKING:
    from nulls_dist.unlearn.deletion import Deletion
    from nulls_dist.unlearn.evidence import Evidence


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="strip_sources.py",
        summary="Write a checkpoint without the sources that a file lists, or that manifests "
        "describe; the input is not touched.",
        examples=[
            "python tools/strip_sources.py RUN/checkpoints/step-00000100 sources.txt",
            "python tools/strip_sources.py CKPT sources.txt --mode suppress --out CKPT-suppressed",
            "python tools/strip_sources.py CKPT sources.txt --dry-run --json",
            "python tools/strip_sources.py CKPT --manifest manifests",
            "python tools/strip_sources.py RUN/checkpoints/step-00000100 sources.txt "
            "--all-checkpoints",
            "python tools/strip_sources.py CKPT sources.txt --corpus corpus",
            "python tools/strip_sources.py CKPT sources.txt --request-id GDPR-17 --received "
            "2026-01-31 --notify 'Example Ltd' --questions questions.jsonl",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument(
        "sources",
        type=Path,
        nargs="?",
        help="UTF-8 text, one source per line: a title, alias or key, or id:..., title:..., "
        "url:..., key:...; # starts a comment line",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="DIR",
        help="instead of a file: delete the sources whose manifests build_manifests.py wrote to "
        "DIR, after comparing them with the checkpoint",
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
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="refuse if the average surviving source would lose more of its sinks (default: 0.05)",
    )
    parser.add_argument(
        "--exact-collateral",
        action="store_true",
        help="measure every survivor, also of more than 100,000 (minutes for millions)",
    )
    parser.add_argument(
        "--all-checkpoints",
        action="store_true",
        help="delete from every checkpoint that the run of this one retains; --out gets them all "
        "(default: RUN/checkpoints-stripped)",
    )
    parser.add_argument(
        "--corpus",
        type=Path,
        help="also write this corpus without the sources' documents and without exact copies of "
        "them in other sources; the tombstones then name the texts too",
    )
    parser.add_argument(
        "--corpus-out", type=Path, metavar="DIR", help="output (default: CORPUS-stripped)"
    )
    parser.add_argument("--allow-unknown", action="store_true", help="skip unknown lines")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, write nothing")
    parser.add_argument("--json", action="store_true", help="report as JSON")
    _add_record_options(parser)
    return parser


def _add_record_options(parser: ArgumentParser) -> None:
    record = parser.add_argument_group("what the signed report says")
    record.add_argument(
        "--records",
        type=Path,
        metavar="DIR",
        help="directory of ledger, signing key and reports (default: deletions, in the run's "
        "directory or beside the checkpoint)",
    )
    record.add_argument("--request-id", default="", metavar="ID", help="name of the request")
    record.add_argument(
        "--received", type=_day, metavar="YYYY-MM-DD", help="day on which it was received"
    )
    record.add_argument("--basis", default="", metavar="TEXT", help="legal basis or policy")
    record.add_argument(
        "--notify",
        action="append",
        default=[],
        metavar="NAME",
        help="who got the model and must be told; repeatable",
    )
    record.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="ask the model before and after: JSON lines with source, prompt and answer, or the "
        "facts.parquet of a generated corpus",
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} must be a share between 0 and 1, such as 0.05")
    return share


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a day like 2026-01-31") from None
    if day > date.today():
        raise ArgumentTypeError(f"{text} has not come yet; give the day the request was received")
    return day


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    if (args.sources is None) == (args.manifest is None):
        parser.error(
            "name the sources in one of two ways: a file (CKPT SOURCES.txt) or manifests "
            "(CKPT --manifest DIR)"
        )
    if args.corpus_out is not None and args.corpus is None:
        raise ConfigError(f"--corpus-out {args.corpus_out}: name the corpus with --corpus")
    from nulls_dist.checkpoint.format import Grade
    from nulls_dist.source_list import read_requests
    from nulls_dist.unlearn.deletion import Deletion
    from nulls_dist.unlearn.records import PAGE_FILE, default_records
    from nulls_dist.unlearn.report_text import format_plan, format_result
    from nulls_dist.unlearn.request import RequestRecord
    from nulls_dist.unlearn.strip import default_output, default_run_output

    request = RequestRecord(
        request_id=args.request_id,
        received=args.received,
        basis=args.basis,
        recipients=tuple(args.notify),
    )
    grade = Grade.EXCISED if args.mode == "excise" else Grade.SUPPRESSED
    named = args.manifest or read_requests(args.sources)
    deletion = Deletion(
        args.checkpoint, named, grade, exact=args.exact_collateral, corpus=args.corpus
    )
    if not args.json:
        print(format_plan(deletion.report))
    elif args.dry_run:
        print(json.dumps(deletion.report.to_dict(), indent=2))
    deletion.check(allow_unknown=args.allow_unknown, max_collateral=args.max_collateral)
    if args.dry_run:
        return
    default_out = default_run_output if args.all_checkpoints else default_output
    report, folder = deletion.execute(
        args.out or default_out(args.checkpoint),
        args.records or default_records(args.checkpoint),
        request,
        whole_run=args.all_checkpoints,
        corpus_out=args.corpus_out or (args.corpus and default_output(args.corpus)),
        measure=_questioner(args.questions, deletion) if args.questions else None,
    )
    if args.json:
        print(json.dumps({**report.to_dict(), "record": str(folder)}, indent=2))
    else:
        print(f"{format_result(report)}\nreport      {folder / PAGE_FILE}")


def _questioner(path: Path, deletion: "Deletion") -> Callable[[Path], "Evidence"]:
    """Read the questions now, so that a bad file is noticed early, and ask them later."""
    from nulls_dist.eval.evidence import measure_evidence, read_questions

    before, table, deleted = deletion.checkpoint.root, deletion.table, deletion.plan.deleted
    questions = read_questions(path, table)
    return lambda after: measure_evidence(before, after, questions, deleted, table)


if __name__ == "__main__":
    sys.exit(run_command(main))
