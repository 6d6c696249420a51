"""Proofs of what a run trained on, from its logs alone, and the tool that compares them."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nulls_dist.checkpoint.store import Checkpoint, list_checkpoints
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure_log import read_exposure_log
from tools import check_exposure

Span = tuple[int, int, int]
"""Life and the steps (first, last] of it that count."""


def tokens_by_expert(
    run_dir: Path, corpus: Corpus, spans: Sequence[Span]
) -> dict[int, list[tuple[int, int, int]]]:
    """(source, document, token) in the order in which each expert's stream was trained on.

    Ranks that share an expert take its rows in the order of their numbers.
    """
    router = Checkpoint(list_checkpoints(run_dir)[-1]).manifest.build_router()
    owner = dict(zip(corpus.source_ids.tolist(), router.experts_of(corpus.source_ids), strict=True))
    tokens: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for life, first, last in spans:
        tables = [
            read_exposure_log(path).to_pylist()
            for path in sorted((run_dir / "log").glob(f"exposure-life{life:04d}-*.arrow"))
        ]
        for step in range(first + 1, last + 1):
            for row in (row for table in tables for row in table if row["step"] == step):
                document = (row["source_id"], row["doc_index"])
                places = range(row["start"], row["start"] + row["length"])
                tokens[int(owner[row["source_id"]])] += [(*document, place) for place in places]
    return tokens


def check_epochs(run_dir: Path, corpus: Corpus, spans: Sequence[Span]) -> int:
    """Prove that each epoch of each expert has all tokens of its sources once; count epochs."""
    everything = {
        (source, document, place)
        for source, document, length in zip(
            corpus.source_ids.tolist(), corpus.doc_indices.tolist(), corpus.lengths, strict=True
        )
        for place in range(length)
    }
    by_expert = tokens_by_expert(run_dir, corpus, spans)
    num_epochs = 0
    owned = []
    for tokens in by_expert.values():
        sources = {source for source, _, _ in tokens}
        wanted = {token for token in everything if token[0] in sources}
        owned.append(wanted)
        for begin in range(0, len(tokens), len(wanted)):
            epoch = tokens[begin : begin + len(wanted)]
            assert set(Counter(epoch).values()) == {1}
            if len(epoch) == len(wanted):
                assert set(epoch) == wanted
                num_epochs += 1
    assert set.union(*owned) == everything
    return num_epochs


def check(run_dir: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    assert run_command(check_exposure.main, [str(run_dir), str(corpus), "--json"]) == 0
    summary: dict[str, int] = json.loads(capsys.readouterr().out)
    return summary


def read_ledger(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "lives.jsonl").read_text().splitlines()]
