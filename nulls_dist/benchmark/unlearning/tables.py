"""The Parquet tables that every figure is computed from, without a model.

Files of a kind are read as one table. What each column means:

answers, a row per seed, model, state, source, fact and phrasing:
    seed, arm, checkpoint ("trained", "suppressed", "excised"), state (`conditions.Condition`);
    group: "deleted", "kept" or "unseen";
    source_id, fact_id, kind ("unique", "shared", "inferable"), attribute, phrasing (its number),
    held_out (whether the source's documents never use the phrasing);
    multiplicity: sources of the world that state the fact, or teach its rule;
    taught: those of them in the corpus; remaining: those in the corpus without the deleted ones;
    correct: whether greedy decoding writes the right answer and its full stop;
    nll: nats per token of the right answer and its full stop; wrong_nll: of each wrong one.
  Reading adds (see `nulls_dist.eval.metrics`):
    preference: share of the wrong answers that are less likely than the right one, ties half;
    log_truth_ratio: log of TOFU's ratio, geometric, nll - mean(wrong_nll).

documents, a row per seed, model, state and document of at least two tokens:
    seed, arm, checkpoint, state, group, source_id, doc_index;
    validation: whether it is a document of a trained source that no model is trained on;
    num_tokens: scored ones, all but the first; nll: nats, their sum;
    accuracy: share of them that are the model's first choice;
    extraction: how large a rest of them greedy decoding writes, see `metrics.memorization`;
    loss, zlib, min_k, min_k_plus: scores of membership inference, high where a text looks unseen.

sources, a row per seed and source of the world:
    seed, source_id, title, group ("kept" if it is not asked about, too), asked;
    lost_share: share of its sinks that the excision overwrites, the planner's forecast;
    max_shared: share of its sinks that it has in common with the deleted source nearest to it in
    the pool; shared_facts: facts of it that a deleted source states as well.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nulls_dist.durable import replaced_file
from nulls_dist.eval.metrics import membership

Floats = npt.NDArray[np.float64]

ANSWERS: Final = "answers"
DOCUMENTS: Final = "documents"
SOURCES: Final = "sources"

MEMBERSHIP_SCORES: Final = {
    "loss": membership.LOSS,
    "zlib": membership.ZLIB,
    "min_k": membership.MIN_K,
    "min_k_plus": membership.MIN_K_PLUS,
}
"""Column of documents -> the attack whose score it is."""

_MODEL: Final = (
    ("seed", pa.int32()),
    ("arm", pa.string()),
    ("checkpoint", pa.string()),
    ("state", pa.string()),
    ("group", pa.string()),
    ("source_id", pa.uint64()),
)
SCHEMAS: Final = {
    ANSWERS: pa.schema(
        [
            *_MODEL,
            ("fact_id", pa.string()),
            ("kind", pa.string()),
            ("attribute", pa.string()),
            ("phrasing", pa.int8()),
            ("held_out", pa.bool_()),
            ("multiplicity", pa.int32()),
            ("taught", pa.int32()),
            ("remaining", pa.int32()),
            ("correct", pa.bool_()),
            ("nll", pa.float64()),
            ("wrong_nll", pa.list_(pa.float64())),
        ]
    ),
    DOCUMENTS: pa.schema(
        [
            *_MODEL,
            ("doc_index", pa.int32()),
            ("validation", pa.bool_()),
            ("num_tokens", pa.int32()),
            *((name, pa.float64()) for name in ("nll", "accuracy", "extraction")),
            *((name, pa.float64()) for name in ("loss", "zlib", "min_k", "min_k_plus")),
        ]
    ),
    SOURCES: pa.schema(
        [
            ("seed", pa.int32()),
            ("source_id", pa.uint64()),
            ("title", pa.string()),
            ("group", pa.string()),
            ("asked", pa.bool_()),
            ("lost_share", pa.float64()),
            ("max_shared", pa.float64()),
            ("shared_facts", pa.int32()),
        ]
    ),
}
_KEYS: Final = {
    ANSWERS: ("seed", "arm", "checkpoint", "state", "group", "source_id", "fact_id", "phrasing"),
    DOCUMENTS: ("seed", "arm", "checkpoint", "state", "group", "source_id", "doc_index"),
    SOURCES: ("seed", "source_id"),
}


def write_table(path: Path, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a part of a table, atomically.

    Args:
        path: of the file.
        kind: ANSWERS, DOCUMENTS or SOURCES.
        rows: with exactly the columns of its schema.
    """
    schema = SCHEMAS[kind]
    assert all(row.keys() == set(schema.names) for row in rows), "rows have the schema's columns"
    with replaced_file(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), temporary)


def read_tables(root: Path, kind: str) -> pa.Table:
    """Read all parts of a table, sorted by what identifies a row, with the added columns.

    Sorted so that selections of two models' answers to the same questions have them in one order.
    """
    parts = [
        pq.read_table(path, schema=SCHEMAS[kind])
        for path in sorted((root / kind).glob("*.parquet"))
    ]
    table = pa.concat_tables(parts) if parts else SCHEMAS[kind].empty_table()
    table = table.sort_by([(name, "ascending") for name in _KEYS[kind]]).combine_chunks()
    return _add_ratios(table) if kind == ANSWERS else table


def select(table: pa.Table, **wanted: Any) -> pa.Table:
    """Return the rows whose columns have the wanted values; a tuple means any of its members."""
    keep = pa.array(np.ones(len(table), dtype=np.bool_))
    for name, value in wanted.items():
        values = pa.array(
            value if isinstance(value, tuple) else (value,), table.schema.field(name).type
        )
        keep = pc.and_(keep, pc.is_in(table.column(name).combine_chunks(), value_set=values))
    return table.filter(keep)


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column as an array."""
    values: npt.NDArray[Any] = table.column(name).to_numpy()
    return values


def _add_ratios(table: pa.Table) -> pa.Table:
    wrong: Any = table.column("wrong_nll").combine_chunks()
    counts = np.diff(wrong.offsets.to_numpy())
    right = column(table, "nll")
    others = wrong.flatten().to_numpy()
    rows = np.repeat(np.arange(len(table)), counts)
    is_less_likely = (others > right[rows]) + 0.5 * (others == right[rows])
    means = [np.bincount(rows, each, len(table)) / counts for each in (is_less_likely, others)]
    table = table.append_column("preference", pa.array(means[0]))
    return table.append_column("log_truth_ratio", pa.array(right - means[1]))
