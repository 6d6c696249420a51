"""The list of sources that shall own sinks alone: read when a run is created, compared ever after.

The list has the syntax of sources.txt, and every line must name a source of the corpus. Checkpoints
keep the set of sources that it names, so its lines may be reordered or spelt otherwise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import ConfigError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.private import PrivateBlocks, lay_out_blocks
from nulls_dist.routing.router import buckets_of
from nulls_dist.unlearn.plan import open_sources
from nulls_dist.unlearn.resolve import resolve_all

_MAX_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateDemand:
    """What private sources take from a pool."""

    num_sources: int
    sinks_per_expert: int
    """Sinks that are set aside in every expert and layer."""
    shared_sinks_per_expert: int
    unused_sinks: int
    """Sinks per layer, of all experts, that are set aside and nobody's: the experts hold different
    numbers of private sources."""
    parameters: int
    """Of all that is set aside; they are part of the pool, not beside it."""


def read_private_sources(path: str, corpus: Corpus) -> U64Array:
    """Return the sources of a corpus that a list names.

    Args:
        path: of the list; empty where there is none.
        corpus: has the sources.

    Returns:
        (V,) uint64, ascending.

    Raises:
        InputError: the file is no list of sources.
        UnknownSourceError: a line does not name one source.
    """
    if not path:
        return np.empty(0, dtype=np.uint64)
    table = SourceTable(corpus.root / SOURCES_FILE)
    return np.array(sorted(resolve_all(table, Path(path))), dtype=np.uint64)


def check_same_private(path: str, checkpoint: Checkpoint) -> None:
    """Refuse to continue with another list than the one a run was created with.

    Names are looked up in the checkpoint: a deleted source may be missing from the corpus.

    Raises:
        ConfigError: the list names other sources.
        InputError: the file is no list of sources.
        UnknownSourceError: a line does not name one source.
    """
    saved = set(checkpoint.manifest.private_sources)
    if not (path or saved):
        return
    table = open_sources(checkpoint)
    named = set(resolve_all(table, Path(path))) if path else set()
    if named == saved:
        return
    only = [
        f"only in {where}: {_name(table, numbers)}"
        for where, numbers in (
            ("the list", named - saved),
            (f"the checkpoint {checkpoint.root}", saved - named),
        )
        if numbers
    ]
    raise ConfigError(
        f"sinks.private_sources ({path or 'not set'}: {len(named)} sources) differs from what this "
        f"run was created with ({len(saved)} sources); {'; '.join(only)}. Who owns sinks alone is "
        "fixed from the first step on: resume with the same list, or create a new run"
    )


def lay_out_private(model: ModelConfig, corpus: Corpus, path: str) -> PrivateBlocks:
    """Lay private blocks out as a new run on a corpus would.

    Raises:
        ConfigError: the pool has no room for them.
        InputError: the file is no list of sources.
        UnknownSourceError: a line does not name one source.
    """
    source_ids = read_private_sources(path, corpus)
    table = balance_buckets(corpus.tokens_per_bucket(), model.num_experts).astype(np.int64)
    return lay_out_blocks(
        source_ids,
        table[buckets_of(source_ids, router_seed=corpus.manifest.router_seed)],
        num_experts=model.num_experts,
        num_sinks=model.num_sinks,
        num_active=model.num_active,
    )


def weigh_private(model: ModelConfig, blocks: PrivateBlocks) -> PrivateDemand:
    """Return what private blocks take from the pool of a model."""
    reserved = model.num_experts * blocks.num_reserved
    return PrivateDemand(
        num_sources=len(blocks.source_ids),
        sinks_per_expert=blocks.num_reserved,
        shared_sinks_per_expert=blocks.num_shared,
        unused_sinks=reserved - len(blocks.source_ids) * model.num_active,
        parameters=3 * model.hidden_size * len(model.sink_layers) * reserved,
    )


def format_private(demand: PrivateDemand, num_sinks: int) -> str:
    """Return in one line what private blocks take from experts of `num_sinks` sinks."""
    return (
        f"{demand.num_sources:,}; their blocks take {demand.sinks_per_expert:,} of {num_sinks:,} "
        f"sinks of every expert and layer ({demand.parameters:,} parameters, "
        f"{demand.unused_sinks:,} sinks per layer left over); {demand.shared_sinks_per_expert:,} "
        "stay shared"
    )


def _name(table: SourceTable, source_ids: set[int]) -> str:
    shown = [f"{table.title_of(number)!r} (id:{number})" for number in sorted(source_ids)]
    more = f" and {len(shown) - _MAX_NAMED} more" if len(shown) > _MAX_NAMED else ""
    return f"{', '.join(shown[:_MAX_NAMED])}{more}"
