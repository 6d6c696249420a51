"""The table of faults: each family runs its tries, one broken promise fails the benchmark."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.faults.damage import damage_files
from nulls_dist.benchmark.faults.full_disk import fill_disks
from nulls_dist.benchmark.faults.hostile.family import read_hostile_files
from nulls_dist.benchmark.faults.kills import kill_while_saving
from nulls_dist.benchmark.faults.outcome import Fault
from nulls_dist.benchmark.faults.publication import crash_publications
from nulls_dist.benchmark.faults.refusals import refuse_runs
from nulls_dist.benchmark.faults.stops import interrupt_runs
from nulls_dist.benchmark.faults.workshop import Workshop, open_workshop
from nulls_dist.errors import ConfigError, NullsError

_FAMILIES: Final[dict[str, Callable[[Workshop], list[Fault]]]] = {
    "kills": kill_while_saving,
    "publication": crash_publications,
    "disk": fill_disks,
    "damage": damage_files,
    "stops": interrupt_runs,
    "refusals": refuse_runs,
    "hostile": read_hostile_files,
}


def bench_faults(work: Path, *, share: float, families: Sequence[str]) -> dict[str, Any]:
    """Put faults into training and look at what becomes of it.

    Args:
        work: a new directory for a corpus and the runs.
        share: of the tries.
        families: which ones; all where none is named.

    Returns:
        "faults": rows of the table; "share".

    Raises:
        ConfigError: there is no such family, or no such share.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"--share {share}: must be above 0 and at most 1")
    if unknown := sorted(set(families) - set(_FAMILIES)):
        raise ConfigError(f"--families: no {', '.join(unknown)}; there are {', '.join(_FAMILIES)}")
    shop = open_workshop(work, share=share)
    faults = [fault for name in families or _FAMILIES for fault in _FAMILIES[name](shop)]
    return {
        "faults": [asdict(fault) | {"passed": fault.passed} for fault in faults],
        "share": share,
    }


def format_faults(result: dict[str, Any]) -> str:
    """Return the table for a terminal, broken promises below it."""
    lines = [f"{'tries':>6}{'passed':>8}  fault"]
    for row in result["faults"]:
        figures = "; ".join(f"{name}: {value:g}" for name, value in row["measured"].items())
        notes = ", ".join(filter(None, (row["skipped"], figures)))
        lines.append(
            f"{row['tries']:>6}{row['passed']:>8}  {row['fault']}" + f" ({notes})" * bool(notes)
        )
    for row in result["faults"]:
        lines += [f"FAILED {row['fault']}: {failure}" for failure in row["failures"]]
    return "\n".join(lines)


def check_faults(result: dict[str, Any]) -> None:
    """Refuse a table with a broken promise in it.

    Raises:
        NullsError: there is one.
    """
    broken = sum(len(row["failures"]) for row in result["faults"])
    if broken:
        raise NullsError(f"{broken} tries broke what is promised; see above")
