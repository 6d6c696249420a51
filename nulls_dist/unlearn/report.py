"""What a deletion did, for a machine and for a person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from nulls_dist.checkpoint.format import MANIFEST_FILE, Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.unlearn.plan import DeletionPlan
from nulls_dist.unlearn.resolve import Outcome, Resolution
from nulls_dist.unlearn.strip import WrittenCheckpoint

_MAX_SHOWN: Final = 20

STATEMENTS: Final = {
    Grade.SUPPRESSED: (
        "SUPPRESSED: the sources are never routed again. Their weights are still in the files, so "
        "whoever holds the files can activate them; excise before releasing weights."
    ),
    Grade.EXCISED: (
        "EXCISED: the sources' sinks are gone from weights and optimizer state. What other sources "
        "also say, and what reached the backbone, is not."
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionReport:
    """The result of a deletion, or of a dry run."""

    checkpoint: str
    output: str | None
    """None on a dry run."""
    step: int
    grade: Grade
    statement: str
    """What the grade means."""
    num_lines: dict[str, int]
    """Lines of the request by outcome."""
    lines: tuple[dict[str, Any], ...]
    """Every line with its number, outcome and source."""
    num_deleted: int
    """Sources whose state changed."""
    already_deleted: tuple[str, ...]
    """Requested sources that needed no change."""
    num_tombstones: int
    """Deleted sources of the output, earlier deletions included."""
    collateral: dict[str, Any]
    rows_per_expert: dict[str, int]
    """Sinks excised, over all layers."""
    rewritten: tuple[str, ...]
    num_linked: int
    num_values_verified: int
    input_manifest_sha256: str
    output_manifest_sha256: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the report for a person."""
        counts = ", ".join(f"{number} {outcome}" for outcome, number in self.num_lines.items())
        lines = [
            f"checkpoint  {self.checkpoint} (step {self.step})",
            f"output      {self.output or 'none: dry run'}",
            f"lines       {counts}",
            f"sources     {self.num_deleted} deleted now, {self.num_tombstones} in all",
            f"grade       {self.statement}",
        ]
        lines += [f"already     {title}" for title in self.already_deleted[:_MAX_SHOWN]]
        lines += self._skipped_lines()
        if self.grade is Grade.EXCISED:
            lines += self._collateral_lines()
        if self.output:
            lines.append(
                f"files       {len(self.rewritten)} rewritten, {self.num_linked} linked; "
                f"{self.num_values_verified} values read back and verified"
            )
            lines.append(f"manifest    sha256 {self.output_manifest_sha256}")
        return "\n".join(lines)

    def _skipped_lines(self) -> list[str]:
        skipped = [line for line in self.lines if line["outcome"] == Outcome.UNKNOWN]
        return [
            f"skipped     line {line['line']}: {line['text']!r}: {line['detail']}"
            for line in skipped[:_MAX_SHOWN]
        ]

    def _collateral_lines(self) -> list[str]:
        cost = self.collateral
        measured = "" if not cost["standard_error"] else f" +- {cost['standard_error']:.3%}"
        lines = [
            f"collateral  mean {cost['mean']:.3%}{measured}, p99 {cost['p99']:.3%}, max "
            f"{cost['max']:.3%} of the sinks of {self._measured()}",
            f"pool        {cost['pool_zeroed']:.3%} zeroed now, {cost['pool_gone']:.3%} in all",
        ]
        if cost["num_twins"]:
            lines.append(
                f"twins       {cost['num_twins']} of {cost['num_measured']} measured survivors "
                "have exactly the sinks of a deleted one"
            )
        lines += [f"worst       {entry['share']:.3%} {entry['title']}" for entry in cost["worst"]]
        return lines

    def _measured(self) -> str:
        """Say which survivors mean, p99, max, twins and worst are about."""
        measured, survivors = self.collateral["num_measured"], self.collateral["num_survivors"]
        if measured == survivors:
            return f"{survivors} surviving sources"
        return f"a survivor, measured on {measured} of {survivors} survivors"


def build_report(
    checkpoint: Checkpoint,
    table: SourceTable,
    resolutions: Sequence[Resolution],
    plan: DeletionPlan,
    written: WrittenCheckpoint | None,
) -> DeletionReport:
    """Gather a report.

    Args:
        checkpoint: the input.
        table: its sources.
        resolutions: every line of the request.
        plan: what was decided.
        written: the output; None on a dry run.
    """
    out = written.root if written else None
    counts = Counter(entry.outcome for entry in resolutions)
    collateral = asdict(plan.collateral)
    worst = plan.collateral.worst
    titles = table.titles_of([number for number, _ in worst])
    collateral["worst"] = [
        {"source_id": number, "title": title, "share": share}
        for (number, share), title in zip(worst, titles, strict=True)
    ]
    return DeletionReport(
        checkpoint=str(checkpoint.root),
        output=None if out is None else str(out),
        step=checkpoint.manifest.step,
        grade=plan.grade,
        statement=STATEMENTS[plan.grade],
        num_lines={outcome.value: counts[outcome] for outcome in Outcome},
        lines=tuple(_describe(entry) for entry in resolutions),
        num_deleted=len(plan.deleted),
        already_deleted=tuple(table.titles_of(plan.already)),
        num_tombstones=len(plan.tombstones),
        collateral=collateral,
        rows_per_expert={str(entry.expert): entry.num_rows for entry in plan.excisions},
        rewritten=written.rewritten if written else (),
        num_linked=len(written.linked) if written else 0,
        num_values_verified=written.num_values_verified if written else 0,
        input_manifest_sha256=sha256_file(checkpoint.root / MANIFEST_FILE),
        output_manifest_sha256=None if out is None else sha256_file(out / MANIFEST_FILE),
    )


def _describe(resolution: Resolution) -> dict[str, Any]:
    return {
        "line": resolution.request.line,
        "text": resolution.request.text,
        "outcome": resolution.outcome,
        "source_id": resolution.source_id,
        "title": resolution.title,
        "matched_by": resolution.matched_by,
        "detail": resolution.detail,
    }
