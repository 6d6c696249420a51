"""What a deletion does and did, for a machine; other modules tell it to people."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from nulls_dist import __version__
from nulls_dist.checkpoint.format import MANIFEST_FILE, CheckpointManifest, Grade
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.unlearn.by_manifests import ManifestOrigin
from nulls_dist.unlearn.corpus_plan import CorpusPlan
from nulls_dist.unlearn.evidence import Evidence
from nulls_dist.unlearn.plan import DeletionPlan
from nulls_dist.unlearn.request import RequestRecord
from nulls_dist.unlearn.resolutions import Resolution, Resolutions
from nulls_dist.unlearn.strip import WrittenCheckpoint
from nulls_dist.unlearn.strip_corpus import WrittenCorpus
from nulls_dist.unlearn.surfaces import Surface, look_at_surfaces

FORMAT_VERSION: Final = 1

STATEMENTS: Final = {
    Grade.SUPPRESSED: (
        "SUPPRESSED: The sources are never routed again. Their weights are still in the files, so "
        "whoever holds the files can activate them; excise before releasing weights."
    ),
    Grade.EXCISED: (
        "EXCISED: The sources' sinks are gone from weights and optimizer state. What other sources "
        "also say, and what reached the backbone, is not."
    ),
}

_RISKS: Final = {
    Grade.SUPPRESSED: (
        "The values that the sources shaped are still in every file. Anyone who holds the files "
        "can ignore the tombstones and activate them. Do not call this erasure.",
    ),
    Grade.EXCISED: (
        "What several sources say is learned by the part of the model that all share. It is not "
        "removed with one of them, and a model trained without the deleted sources would know it "
        "too.",
        "Some of what only the deleted sources say may have reached the shared part. How much can "
        "be measured with questions about them (--questions).",
        "Copies of the text under another name were other sources to the model. They keep what "
        "they taught it until they are deleted themselves.",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletionReport:
    """The plan of a deletion and, when it is done, its result."""

    checkpoint: str
    output: str | None
    """None before anything is written."""
    step: int
    grade: Grade
    statement: str
    """What the grade means."""
    num_lines: dict[str, int]
    """Lines of the request by outcome."""
    lines: tuple[dict[str, Any], ...]
    """Every line with its number, outcome and source; or every manifest, with its checksum."""
    manifests: dict[str, Any] | None
    """The manifests that asked for the deletion; None where a list did."""
    num_deleted: int
    """Sources whose state changed."""
    deleted: tuple[dict[str, Any], ...]
    """Their ids and titles."""
    already_deleted: tuple[str, ...]
    """Requested sources that needed no change."""
    num_tombstones: int
    """Deleted sources of the output, earlier deletions included."""
    collateral: dict[str, Any]
    rows_per_expert: dict[str, int]
    """Sinks excised, over all layers."""
    input_manifest_sha256: str
    input_files: tuple[dict[str, Any], ...]
    """Path, size and sha256 of each, as its manifest records them."""
    corpus: dict[str, Any] | None = None
    """What the deletion does to a corpus and, when it is done, where that is; None where none was
    named."""
    rewritten: tuple[str, ...] = ()
    num_linked: int = 0
    num_values_verified: int = 0
    other_outputs: tuple[str, ...] = ()
    """Those for other checkpoints of the run."""
    output_manifest_sha256: str | None = None
    output_files: tuple[dict[str, Any], ...] = ()
    request: dict[str, Any] | None = None
    """The paperwork; None before anything is written, as all below."""
    done: str | None = None
    """UTC, ISO 8601."""
    surfaces: tuple[dict[str, Any], ...] = ()
    """What can hold the sources, with a verdict each."""
    risks: tuple[str, ...] = ()
    """What remains, in plain words."""
    evidence: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    ledger: dict[str, Any] | None = None
    """Sequence number of the entry, and the sha256 of the line before it."""
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)


def report_plan(
    checkpoint: Checkpoint,
    table: SourceTable,
    resolutions: Resolutions,
    plan: DeletionPlan,
    *,
    origin: ManifestOrigin | None,
    corpus: CorpusPlan | None,
) -> DeletionReport:
    """Return what is known before anything is written.

    Args:
        checkpoint: the input.
        table: its sources.
        resolutions: every line of the request.
        plan: what was decided.
        origin: the manifests that asked for it; None where a list did.
        corpus: what was decided for a corpus, where one was named.
    """
    collateral = asdict(plan.collateral)
    worst = plan.collateral.worst
    titles = table.titles_of([number for number, _ in worst])
    collateral["worst"] = [
        {"source_id": number, "title": title, "share": share}
        for (number, share), title in zip(worst, titles, strict=True)
    ]
    grade = _reached_grade(plan)
    return DeletionReport(
        checkpoint=str(checkpoint.root),
        output=None,
        step=checkpoint.manifest.step,
        grade=grade,
        statement=STATEMENTS[grade],
        num_lines={
            outcome.value: number for outcome, number in resolutions.count_outcomes().items()
        },
        lines=tuple(_describe(entry) for entry in resolutions),
        manifests=None if origin is None else asdict(origin),
        num_deleted=len(plan.deleted),
        deleted=tuple(
            {"source_id": number, "title": title}
            for number, title in zip(plan.deleted, table.titles_of(plan.deleted), strict=True)
        ),
        already_deleted=tuple(table.titles_of(plan.already)),
        num_tombstones=len(plan.tombstones),
        collateral=collateral,
        rows_per_expert={str(entry.expert): entry.num_rows for entry in plan.excisions},
        input_manifest_sha256=sha256_file(checkpoint.root / MANIFEST_FILE),
        input_files=_list_files(checkpoint.manifest),
        corpus=None if corpus is None else _describe_corpus(corpus, table),
    )


def report_result(
    planned: DeletionReport,
    checkpoint: Checkpoint,
    written: WrittenCheckpoint,
    *,
    replaced: Sequence[WrittenCheckpoint],
    corpus: WrittenCorpus | None,
    request: RequestRecord,
    evidence: Evidence | None,
    now: datetime,
) -> DeletionReport:
    """Add what is known when the output is written.

    Args:
        planned: what `report_plan` returned.
        checkpoint: the input.
        written: the output.
        replaced: outputs for other checkpoints of the run.
        corpus: output for the corpus, where one was named.
        request: the paperwork.
        evidence: answers before and after, where they were asked for.
        now: aware; when the deletion was done.
    """
    source_ids = [entry["source_id"] for entry in planned.deleted]
    described = _describe_corpus_output(planned.corpus, corpus)
    surfaces = look_at_surfaces(checkpoint, source_ids, planned.grade, replaced, described)
    return replace(
        planned,
        corpus=described,
        output=str(written.root),
        other_outputs=tuple(str(other.root) for other in replaced),
        rewritten=written.rewritten,
        num_linked=len(written.linked),
        num_values_verified=written.num_values_verified,
        output_manifest_sha256=written.manifest_sha256,
        output_files=_list_files(written.manifest),
        request=_describe_request(request),
        done=now.isoformat(timespec="seconds"),
        surfaces=tuple(_describe_surface(surface) for surface in surfaces),
        risks=_RISKS[planned.grade],
        evidence=None if evidence is None else evidence.to_dict(),
        versions={
            "nulls-dist": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
        },
    )


def _reached_grade(plan: DeletionPlan) -> Grade:
    """Return the grade asked for, or, where nothing changes, the one that the sources have."""
    grades = {entry.grade for entry in plan.tombstones if entry.source_id in set(plan.already)}
    if plan.deleted or len(grades) != 1:
        return plan.grade
    return grades.pop()


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


def _describe_corpus(plan: CorpusPlan, table: SourceTable) -> dict[str, Any]:
    copies = [
        asdict(holder) | {"in_model": table.row_of(holder.source_id) is not None}
        for holder in plan.holders
    ]
    return {
        "input": str(plan.corpus.root),
        "num_sources": plan.num_sources,
        "num_documents": plan.num_documents,
        "num_copies": plan.num_copies,
        "copies": copies,
    }


def _describe_corpus_output(
    planned: dict[str, Any] | None, written: WrittenCorpus | None
) -> dict[str, Any] | None:
    if planned is None or written is None:
        return planned
    return planned | {
        "output": str(written.root),
        "rewritten": list(written.rewritten),
        "num_linked": written.num_linked,
        "output_manifest_sha256": written.manifest_sha256,
    }


def _describe_request(request: RequestRecord) -> dict[str, Any]:
    received, due = request.received, request.due
    return {
        "request_id": request.request_id,
        "received": received and received.isoformat(),
        "due": due and due.isoformat(),
        "basis": request.basis,
        "recipients": list(request.recipients),
    }


def _describe_surface(surface: Surface) -> dict[str, str]:
    return {"name": surface.name, "verdict": surface.verdict.value, "detail": surface.detail}


def _list_files(manifest: CheckpointManifest) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"path": record.path, "num_bytes": record.num_bytes, "sha256": record.sha256}
        for record in manifest.files
    )
