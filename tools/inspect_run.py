"""Tell how a run stands: status, lives, last checkpoint, speed, faults, expected end."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nulls_dist.cli import CommandParser, positive_int, run_command

if TYPE_CHECKING:
    from nulls_dist.train.inspection import Inspection, LifeSummary

_STALE_AFTER_S: Final = 900
_DAY_S: Final = 86_400


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="inspect_run.py",
        summary="Tell how a run stands, from the files of its directory alone. The exit code says "
        "whether there is a run that can be read, not how it stands.",
        examples=[
            "python tools/inspect_run.py RUN",
            "python tools/inspect_run.py RUN --json",
            "watch -n 10 python tools/inspect_run.py RUN",
        ],
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "--stale-after",
        type=positive_int,
        default=_STALE_AFTER_S,
        metavar="SECONDS",
        help="without a step after which a run is not taken for running; start, evaluation and "
        f"saving count (default: {_STALE_AFTER_S})",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.train.inspection import inspect_run

    found = inspect_run(args.run_dir, stale_after_s=args.stale_after)
    print(json.dumps(asdict(found), indent=2) if args.json else _format(found))


def _format(found: "Inspection") -> str:
    progress, checkpoint = found.progress, found.checkpoint
    done = progress.step / progress.steps
    lines = [f"{found.run_dir}: {found.status} ({found.reason})"]
    lines.append(f"preset      {found.preset}")
    lines.append(f"steps       {progress.step} of {progress.steps} ({done:.1%})")
    if progress.loss_nats is not None:
        lines.append(f"loss        {progress.loss_nats:.4f} nats")
    if progress.tokens_per_s is not None:
        lines.append(f"speed       {progress.tokens_per_s:,.0f} tokens/s in steps")
    if progress.s_per_step is not None:
        lines[-1] += f", {progress.s_per_step:.3g} s per step all in all"
    if progress.expected_end is not None:
        lines.append(f"ends        {progress.expected_end}, if it goes on like this")
    lines.append(
        f"checkpoint  step {checkpoint.step}, {_duration(checkpoint.age_s)} old: {checkpoint.path}"
        if checkpoint
        else "checkpoint  none"
    )
    faults = [
        f"{count} {name.replace('_', ' ')}" for name, count in asdict(found.faults).items() if count
    ]
    lines.append(f"faults      {', '.join(faults) or 'none'}")
    return "\n".join([*lines, *map(_format_life, found.lives)])


def _format_life(life: "LifeSummary") -> str:
    last = "?" if life.last_step is None else life.last_step
    until = life.ended_at or "?"
    return (
        f"life {life.life:<6} {life.processes} processes, steps {life.first_step} to {last}, "
        f"{life.started_at} to {until}: {life.end}"
    )


def _duration(seconds: float) -> str:
    if seconds >= _DAY_S:
        return f"{seconds / _DAY_S:.1f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h"


if __name__ == "__main__":
    sys.exit(run_command(main))
