"""Everything that can hold a deleted source, with a verdict each.

A report that speaks of the weights alone would be true and mislead: the text, older checkpoints and
copies given away live on. What this program can look at is judged; the rest is listed as unseen.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from nulls_dist.checkpoint.format import (
    MANIFEST_FILE,
    RUN_FILE,
    WEIGHTS_DIR,
    Grade,
    expert_of_file,
)
from nulls_dist.checkpoint.store import CHECKPOINTS_DIR, Checkpoint
from nulls_dist.durable import read_json
from nulls_dist.errors import NullsError
from nulls_dist.unlearn.strip import WrittenCheckpoint


class Verdict(StrEnum):
    """What is known of a place."""

    EXCISED = "EXCISED"
    SUPPRESSED = "SUPPRESSED"
    HOLDS = "STILL HOLDS IT"
    ABSENT = "NOT THERE"
    UNSEEN = "NOT SEEN"
    """Out of this program's reach: someone must look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """A place that can hold a source."""

    name: str
    verdict: Verdict
    detail: str
    """What was done, or what is left to do."""


_MAX_NAMED: Final = 20
_CORPUS_REMEDY: Final = "delete with --corpus or build it anew with --exclude-deleted"
_UNSEEN: Final = (
    ("raw input", "the dump or files that the corpus was built from; remove the text there"),
    ("exports", "models converted from earlier checkpoints; convert the new one, withdraw those"),
    ("other corpora", "corpora built from the same input; build with --exclude-deleted"),
    ("logs and samples", "generated texts, experiment trackers, exposure logs of the run"),
    ("backups", "of any of these; let them expire or overwrite them"),
    ("downstream copies", "models given away or fine-tuned by others; tell the recipients"),
)


def look_at_surfaces(
    checkpoint: Checkpoint,
    source_ids: Collection[int],
    grade: Grade,
    replaced: Sequence[WrittenCheckpoint],
    corpus: Mapping[str, Any] | None = None,
) -> tuple[Surface, ...]:
    """Judge every place that can hold the deleted sources once the output is written.

    Args:
        checkpoint: the input of the deletion.
        source_ids: sources that are deleted from it.
        grade: how.
        replaced: outputs that were written for other checkpoints of the run.
        corpus: what the report says of the corpus that was written, where one was.
    """
    outputs = {written.root.name: written for written in replaced}
    return (
        *_of_output(checkpoint, grade),
        Surface(
            name=f"the input, {checkpoint.root}",
            verdict=Verdict.HOLDS,
            detail="inputs are never changed; remove it when the output is in use",
        ),
        *_of_run(checkpoint, source_ids, outputs),
        *_of_corpora(checkpoint, corpus),
        *(Surface(name=name, verdict=Verdict.UNSEEN, detail=text) for name, text in _UNSEEN),
    )


def _of_output(checkpoint: Checkpoint, grade: Grade) -> list[Surface]:
    """Judge the parts of the new checkpoint."""
    verdict, detail = Verdict.SUPPRESSED, "never routed again; the values are still in the files"
    if grade is Grade.EXCISED:
        verdict, detail = Verdict.EXCISED, "overwritten and read back"
    weights = Surface(name="weights of the output", verdict=verdict, detail=detail)
    if not any(_is_sink_optimizer(name) for name in checkpoint.files):
        verdict, detail = Verdict.ABSENT, "the checkpoint has no optimizer state"
    return [
        weights,
        Surface(name="fp32 master weights of the output", verdict=verdict, detail=detail),
        Surface(name="both moments of the output", verdict=verdict, detail=detail),
        Surface(
            name="source table of the output",
            verdict=Verdict.HOLDS,
            detail="the names only, so that later corpora and requests can be compared with them; "
            "releases do not carry it",
        ),
    ]


def _is_sink_optimizer(file: str) -> bool:
    return expert_of_file(file) is not None and not file.startswith(WEIGHTS_DIR)


def _of_run(
    checkpoint: Checkpoint, source_ids: Collection[int], outputs: Mapping[str, WrittenCheckpoint]
) -> list[Surface]:
    """Judge the other checkpoints that the run retains, and what was written for them."""
    root = checkpoint.root.resolve()
    if root.parent.name != CHECKPOINTS_DIR:
        return []
    surfaces = []
    beside = [path.parent for path in sorted(root.parent.glob(f"[!.]*/{MANIFEST_FILE}"))]
    for other in beside:  # also what earlier deletions wrote there
        if other == root:
            continue
        surface = _of_other_checkpoint(other, source_ids)
        if other.name in outputs:
            written = outputs[other.name]
            detail = f"{written.root} replaces it (manifest sha256 {written.manifest_sha256})"
            surface = replace(surface, detail=f"{detail}; remove this one")
        surfaces.append(surface)
    return surfaces


def _of_other_checkpoint(root: Path, source_ids: Collection[int]) -> Surface:
    name = f"retained checkpoint {root.name}"
    try:
        tombstones = Checkpoint(root).manifest.tombstones
    except NullsError as error:
        return Surface(name=name, verdict=Verdict.UNSEEN, detail=f"not readable: {error}")
    excised = {entry.source_id for entry in tombstones if entry.grade is Grade.EXCISED}
    num_left = len(set(source_ids) - excised)
    if not num_left:
        return Surface(name=name, verdict=Verdict.EXCISED, detail="by an earlier deletion")
    detail = f"sources: {num_left}; remove it, or delete with --all-checkpoints"
    return Surface(name=name, verdict=Verdict.HOLDS, detail=detail)


def _of_corpora(checkpoint: Checkpoint, stripped: Mapping[str, Any] | None) -> list[Surface]:
    """Judge the corpus that was written, its input, and the one that the run was trained on."""
    surfaces = [] if stripped is None else _of_stripped(stripped)
    recorded = read_json(checkpoint.path(RUN_FILE)).get("corpus")
    if not isinstance(recorded, str) or not (Path(recorded) / MANIFEST_FILE).is_file():
        unseen = Surface(
            name="corpus",
            verdict=Verdict.UNSEEN,
            detail=f"not where the run had it; wherever it is, {_CORPUS_REMEDY}",
        )
        return surfaces or [unseen]
    if stripped is None or Path(recorded).resolve() != Path(stripped["input"]).resolve():
        detail = f"{_CORPUS_REMEDY} and remove this one"
        surfaces.append(Surface(name=f"corpus {recorded}", verdict=Verdict.HOLDS, detail=detail))
    return surfaces


def _of_stripped(corpus: Mapping[str, Any]) -> list[Surface]:
    removed = f"documents: {corpus['num_documents']}, exact copies: {corpus['num_copies']}"
    holders = [entry for entry in corpus["copies"] if entry["in_model"]]
    named = [f"{entry['title']!r} (id:{entry['source_id']})" for entry in holders[:_MAX_NAMED]]
    left = [
        Surface(
            name="copies in the model",
            verdict=Verdict.HOLDS,
            detail=f"sources whose sinks were trained on exactly these texts: {len(holders)}, "
            f"{', '.join(named)}{', ...' if holders[_MAX_NAMED:] else ''}; add them to sources.txt "
            "to delete them from the model as well",
        )
    ]
    return [
        *(left if holders else []),
        Surface(
            name=f"corpus {corpus['output']}",
            verdict=Verdict.ABSENT,
            detail=f"removed, {removed}; texts that are only alike, and the tokenizer that was "
            "learned from all, stay",
        ),
        Surface(
            name=f"corpus {corpus['input']}",
            verdict=Verdict.HOLDS,
            detail=f"{corpus['output']} replaces it (manifest sha256 "
            f"{corpus['output_manifest_sha256']}); remove this one",
        ),
    ]
