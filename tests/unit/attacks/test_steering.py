"""The survivors that share most answer, those first that the index names."""

import numpy as np
import pytest

from nulls_dist.attacks.steering import ask_nearest_titles, ask_overlapping
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.eval.fact_likelihood import fact_results, weigh_answers
from nulls_dist.retrieval.checkpoint_index import open_index
from nulls_dist.retrieval.encoder import NgramEncoder
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.sources import NO_SOURCE


def values(results):
    return [(result.metric.label, result.group, result.value) for result in results]


def test_those_that_share_most_sinks_answer_in_order(model, tokenizer, probes, deleted, survivors):
    def sinks(source_id):
        return sinks_of(model.router, np.array([source_id], dtype=np.uint64))

    *ranks, best = ask_overlapping(model, tokenizer, probes, model.router, survivors, num_sources=2)
    shared = {
        source_id: {
            other: int((sinks(source_id) & sinks(other)).sum()) for other in survivors.tolist()
        }
        for source_id in deleted
    }
    ranked = {
        source_id: sorted(counts, key=lambda other: (-counts[other], other))
        for source_id, counts in shared.items()
    }
    assert [result.setting for result in ranks] == ["rank 1", "rank 2"]
    for rank, result in enumerate(ranks):
        donors = {source_id: ranked[source_id][rank] for source_id in deleted}
        expected = fact_results(weigh_answers(model, tokenizer, probes, donors))
        assert values(result.results) == values(expected)
    overlap, *others = best.results
    largest = [max(shared[source_id].values()) / sinks(source_id).sum() for source_id in deleted]
    assert overlap.value == pytest.approx(np.mean(largest))
    assert overlap.details == {"max": pytest.approx(max(largest))}
    assert len(others) == len(ranks[0].results)


def test_a_deleted_title_leads_to_the_nearest_surviving_ones(
    roots, opened, tokenizer, probes, deleted
):
    titles = {deleted[0]: "Title 13", deleted[1]: ""}
    checkpoint = Checkpoint(roots["excised"])
    with opened("excised") as model, open_index(checkpoint, None, NgramEncoder()) as index:
        found = ask_nearest_titles(model, tokenizer, probes, titles, index, num_sources=1)
        (nearest,) = (each.source_id for each in index.search("Title 13", 1))
        assert not index.search("", 1)
        donors = {deleted[0]: nearest, deleted[1]: NO_SOURCE}  # nobody is near: the backbone
        expected = fact_results(weigh_answers(model, tokenizer, probes, donors))
    assert [result.setting for result in found] == ["rank 1", "best of 1"]
    assert all(values(result.results) == values(expected) for result in found)
    assert found[0].options == {"num_sources": 1, "fewest_found": 0}
