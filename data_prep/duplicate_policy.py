"""The policies for near-duplicates that `data_prep.settlement` states, on pairs that were found.

All of them see documents and sources in the order of a `DocumentOrder`, so "the first" and "the
lowest" do not depend on the order of the input.
"""

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.near_duplicates import DocumentOrder, Pairs, Places, Signed
from data_prep.settlement import Settlement
from data_prep.source_table import FormerSource
from nulls_dist.data.duplicates import Policy
from nulls_dist.source_list import spell_names


def decide(policy: Policy, signed: Signed, order: DocumentOrder, pairs: Pairs) -> Settlement:
    """Decide what becomes of the documents of some pairs."""
    if policy is Policy.GROUP:
        return _unite_sources(signed, order, pairs)
    if policy is Policy.DROP:
        return _drop_documents(signed, order, pairs)
    return Settlement()


def _unite_sources(signed: Signed, order: DocumentOrder, pairs: Pairs) -> Settlement:
    sources, keys = order.sources, order.source_keys
    heads = _find_heads(len(keys), sources[pairs.first], sources[pairs.second])
    gone = np.flatnonzero(heads != np.arange(len(heads)))
    names, names_of_heads = (keys.take(pa.array(part)).to_pylist() for part in (gone, heads[gone]))
    return Settlement(
        heads=dict(zip(names, names_of_heads, strict=True)),
        former=_describe_former(signed, order, gone, heads[gone]),
        largest_group=int(np.bincount(heads, minlength=1).max()),
    )


def _drop_documents(signed: Signed, order: DocumentOrder, pairs: Pairs) -> Settlement:
    heads = _find_heads(len(order), pairs.first, pairs.second)
    is_out = heads != np.arange(len(heads))
    is_gone = np.bincount(order.sources[~is_out], minlength=len(order.source_keys)) == 0
    out_of_gone = np.flatnonzero(is_out & is_gone[order.sources])
    moves = np.stack([order.sources[out_of_gone], order.sources[heads[out_of_gone]]])
    columns = signed.read("number", "num_bytes")
    rows = order.rows[is_out]
    return Settlement(
        dropped=frozenset(columns["number"].to_numpy()[rows].tolist()),
        num_text_bytes=int(columns["num_bytes"].to_numpy()[rows].sum()),
        former=_describe_former(signed, order, *np.unique(moves, axis=1)),
    )


def _find_heads(num_nodes: int, first: Places, second: Places) -> Places:
    """Return for each node the lowest one that it is connected with, by pairs of nodes."""
    edges = coo_array((np.ones(len(first), np.bool_), (first, second)), (num_nodes, num_nodes))
    num_groups, labels = connected_components(edges, directed=False)
    lowest = np.full(num_groups, num_nodes)
    np.minimum.at(lowest, labels, np.arange(num_nodes))
    heads: Places = lowest[labels]
    return heads


def _describe_former(
    signed: Signed, order: DocumentOrder, gone: Places, heads: Places
) -> list[FormerSource]:
    """Describe sources that are gone by their first documents, as the source table would.

    Args:
        signed: has the titles and urls.
        order: the documents.
        gone: (N,) sources.
        heads: (N,) for each a source that has its texts.
    """
    firsts, homes = np.searchsorted(order.sources, gone), np.searchsorted(order.sources, heads)
    described = signed.read("title", "url").take(pa.array(order.rows[firsts])).to_pylist()
    rows = zip(
        order.source_ids[firsts].tolist(),
        order.source_keys.take(pa.array(gone)).to_pylist(),
        described,
        order.source_ids[homes].tolist(),
        strict=True,
    )
    return [
        FormerSource(
            title=row["title"],
            names=spell_names(source_id=source_id, source_key=key, **row),
            source_id=head_id,
        )
        for source_id, key, row, head_id in rows
    ]
