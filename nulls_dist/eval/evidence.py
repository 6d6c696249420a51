"""Ask a checkpoint about deleted sources before and after, for the report of a deletion."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.facts import Probe, answer_probes, read_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.states import unrelated_source
from nulls_dist.export.release import tokenizer_record
from nulls_dist.source_list import parse_request
from nulls_dist.sources import NO_SOURCE
from nulls_dist.unlearn.evidence import Evidence, SourceEvidence
from nulls_dist.unlearn.resolutions import check_resolved
from nulls_dist.unlearn.resolve import resolve_requests

_MAX_CONTROL: Final = 20
_MIN_SURVIVORS: Final = 2
_FIELDS: Final = {"source", "prompt", "answer"}


def read_questions(path: Path, table: SourceTable) -> list[Probe]:
    """Read questions about sources.

    Args:
        path: facts.parquet of a generated corpus, of which the unique facts are taken, or JSON
            lines {"source": a line as in sources.txt, "prompt": ..., "answer": ...}.
        table: the sources.

    Raises:
        InputError: the file is missing or a line has another form.
        UnknownSourceError: a line's source is not in the table.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; name facts.parquet or JSON lines with questions")
    if path.suffix == ".parquet":
        probes = read_probes(path, table.source_ids.tolist())
        return [probe for probe in probes if probe.kind == "unique"]
    content = [
        _parse(line, f"{path}, line {number}")
        for number, line in enumerate(_read_text(path).splitlines(), 1)
        if line.strip()
    ]
    if not content:
        raise InputError(f"{path} holds no question; write one JSON object per line")
    requests = [parse_request(entry["source"], n) for n, entry in enumerate(content, 1)]
    resolutions = resolve_requests(table, requests)
    check_resolved(resolutions, allow_unknown=False)
    return [
        Probe(
            source_id=resolution.source_id,
            fact_id=str(resolution.request.line),
            kind="question",
            attribute="",
            multiplicity=1,
            member_ids=(resolution.source_id,),
            held_out=False,
            prompt=entry["prompt"],
            answer=entry["answer"],
        )
        for entry, resolution in zip(content, resolutions, strict=True)
        if resolution.source_id is not None
    ]


def measure_evidence(
    before: Path,
    after: Path,
    questions: Sequence[Probe],
    deleted: Collection[int],
    table: SourceTable,
) -> Evidence:
    """Ask both checkpoints about the deleted sources, and about some that stay.

    Args:
        before: directory of the original checkpoint.
        after: of the one without the sources.
        questions: about sources of the table.
        deleted: ids of the sources.
        table: all sources of the original.

    Raises:
        InputError: too few sources survive to compare with.
    """
    by_source: dict[int, list[Probe]] = defaultdict(list)
    for probe in questions:
        by_source[probe.source_id].append(probe)
    gone = Checkpoint(after).manifest.deleted_ids
    asked = sorted(set(deleted) & by_source.keys())
    control = sorted(by_source.keys() - set(gone.tolist()))[:_MAX_CONTROL]
    survivors = np.setdiff1d(table.source_ids, gone).tolist()
    if len(survivors) < _MIN_SURVIVORS:
        raise InputError(
            f"--questions: {len(survivors)} sources survive, but comparing takes {_MIN_SURVIVORS}"
        )
    probes = [probe for source_id in (*asked, *control) for probe in by_source[source_id]]
    own = {source_id: source_id for source_id in (*asked, *control)}
    others = {source_id: unrelated_source(source_id, survivors) for source_id in own}
    old = _ask(before, probes, {"before": own, "guess": others})
    new = _ask(after, probes, {"after": own, "backbone": dict.fromkeys(own, NO_SOURCE)})
    entries = {
        source_id: SourceEvidence(
            source_id=source_id,
            title=table.title_of(source_id),
            num_questions=len(by_source[source_id]),
            **{name: shares[source_id] for name, shares in (old | new).items()},
        )
        for source_id in own
    }
    return Evidence(
        num_questions=len(probes),
        deleted=tuple(entries[source_id] for source_id in asked),
        control=tuple(entries[source_id] for source_id in control),
        num_unasked=len(set(deleted) - by_source.keys()),
    )


def _ask(
    root: Path, probes: Sequence[Probe], donors: Mapping[str, Mapping[int, int]]
) -> dict[str, dict[int, float]]:
    """Return the share of right answers per name of `donors` and source, tombstones ignored."""
    checkpoint = Checkpoint(root)
    shares: dict[str, dict[int, float]] = {}
    with load_for_inference(root, route_deleted=True) as model:
        tokenizer = load_tokenizer(root, tokenizer_record(checkpoint))
        for name, donor_of in donors.items():
            right = answer_probes(model, tokenizer, probes, donor_of)
            answers: dict[int, list[bool]] = defaultdict(list)
            for probe, is_right in zip(probes, right, strict=True):
                answers[probe.source_id].append(bool(is_right))
            shares[name] = {number: float(np.mean(found)) for number, found in answers.items()}
    return shares


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, byte {error.start + 1}: not UTF-8; write one JSON object per line"
        ) from error


def _parse(line: str, place: str) -> dict[str, str]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON: {error}") from error
    is_right = isinstance(content, dict) and set(content) == _FIELDS
    if not is_right or not all(isinstance(v, str) and v.strip() for v in content.values()):
        raise InputError(f"{place}: must be an object with the texts source, prompt and answer")
    return dict(content)
