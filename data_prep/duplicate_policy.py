"""The policies for near-duplicates that `data_prep.settlement` states, on pairs that were found.

All of them see documents and sources in the order of a `DocumentOrder`, so "the first" and "the
lowest" do not depend on the order of the input.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.near_duplicates import DocumentOrder, Pairs, Places, Signed
from data_prep.settlement import Policy, Settlement
from data_prep.source_table import FormerSource
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
    into = [(place, int(heads[place])) for place in gone.tolist()]
    return Settlement(
        heads={keys[place]: keys[head] for place, head in into},
        former=_describe_former(signed, order, into),
        largest_group=int(np.bincount(heads, minlength=1).max()),
    )


def _drop_documents(signed: Signed, order: DocumentOrder, pairs: Pairs) -> Settlement:
    heads = _find_heads(len(order), pairs.first, pairs.second)
    is_out = heads != np.arange(len(heads))
    is_gone = np.bincount(order.sources[~is_out], minlength=len(order.source_keys)) == 0
    out_of_gone = np.flatnonzero(is_out & is_gone[order.sources])
    moves = zip(
        order.sources[out_of_gone].tolist(), order.sources[heads[out_of_gone]].tolist(), strict=True
    )
    columns = signed.read("number", "num_bytes")
    rows = order.rows[is_out]
    return Settlement(
        dropped=frozenset(columns["number"].to_numpy()[rows].tolist()),
        num_text_bytes=int(columns["num_bytes"].to_numpy()[rows].sum()),
        former=_describe_former(signed, order, sorted(set(moves))),
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
    signed: Signed, order: DocumentOrder, moves: Sequence[tuple[int, int]]
) -> list[FormerSource]:
    """Describe sources that are gone by their first documents, as the source table would.

    Args:
        signed: has the titles and urls.
        order: the documents.
        moves: pairs of a source that is gone and one that has its texts.
    """
    firsts = np.searchsorted(order.sources, [gone for gone, _ in moves])
    described = signed.read("title", "url").take(order.rows[firsts]).to_pylist()
    homes = np.searchsorted(order.sources, [head for _, head in moves])
    former = []
    for (gone, _), row, first, home in zip(moves, described, firsts, homes, strict=True):
        names = spell_names(
            source_id=int(order.source_ids[first]),
            source_key=order.source_keys[gone],
            title=row["title"],
            url=row["url"],
        )
        head_id = int(order.source_ids[home])
        former.append(FormerSource(title=row["title"], names=names, source_id=head_id))
    return former
