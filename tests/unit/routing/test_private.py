"""Private blocks belong to one source each; everyone else routes as in a smaller pool."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError, RefusedError
from nulls_dist.routing import router_torch
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec, buckets_of

U64 = st.integers(0, 2**64 - 2)
SPEC = RouterSpec(seed=5, num_layers=3, num_experts=2, num_sinks=64, num_active=8)


def router_of(spec: RouterSpec = SPEC, private=(), tombstones=()) -> Router:
    table = (np.arange(NUM_BUCKETS) % spec.num_experts).astype(np.uint16)
    return Router(spec, table, tombstones, private)


def ids_of(numbers) -> np.ndarray:
    return np.array(list(numbers), dtype=np.uint64)


def test_blocks_follow_the_specification():
    """Expert 0 has the sources 2, 9 and 2**63, expert 1 the source 4: 3 blocks are set aside."""
    ids = ids_of([2**63, 4, 9, 2])
    table = np.zeros(NUM_BUCKETS, dtype=np.uint16)
    table[buckets_of(ids[1:2], router_seed=SPEC.seed)] = 1
    router = Router(SPEC, table, private_sources=[9, 4, 2, 2**63])
    assert router.experts_of(ids).tolist() == [0, 1, 0, 0]
    assert (router.private.num_reserved, router.private.num_shared) == (24, 40)
    first = [56, 40, 48, 40]
    wanted = np.array(first)[:, None] + np.arange(8)
    for layer, sinks in enumerate(router.active_sinks(ids)):
        assert np.array_equal(sinks, wanted)
        assert np.array_equal(router.sinks_of_layer(ids, layer), wanted)


@given(
    private=st.sets(U64, max_size=6),
    others=st.lists(U64, min_size=1, max_size=20),
    per_layer=st.booleans(),
    num_experts=st.sampled_from([1, 2, 4]),
)
def test_nobody_but_its_owner_meets_a_private_sink(private, others, per_layer, num_experts):
    spec = replace(SPEC, per_layer=per_layer, num_experts=num_experts)
    router = router_of(spec, private)
    others = ids_of(set(others) - private)
    everyone = np.concatenate([ids_of(private), others])
    num_shared = router.private.num_shared
    owned, experts = router.active_sinks(ids_of(private)), router.experts_of(ids_of(private))
    blocks = {(int(expert), *block) for expert, block in zip(experts, owned[0], strict=True)}
    slots = {(block[0], sink) for block in blocks for sink in block[1:]}
    assert len(slots) == 8 * len(private)  # disjoint, eight sinks each
    assert not private or owned.min() >= num_shared
    assert (owned == owned[:1]).all()
    assert not len(others) or router.active_sinks(others).max() < num_shared
    smaller = router_of(replace(spec, num_sinks=num_shared))
    assert np.array_equal(router.active_sinks(others), smaller.active_sinks(others))
    assert np.array_equal(router.experts_of(everyone), smaller.experts_of(everyone))
    together = router.active_sinks(everyone)
    as_torch = torch.from_numpy(everyone.view(np.int64).copy())
    assert np.array_equal(
        router_torch.active_sinks(spec, router.private, as_torch).numpy(), together
    )
    for layer in range(spec.num_layers):
        assert np.array_equal(router.sinks_of_layer(everyone, layer), together[layer])


def test_without_private_sources_the_whole_pool_is_shared():
    private = router_of().private
    assert (private.num_reserved, private.num_shared) == (0, SPEC.num_sinks)
    assert private.find(ids_of([1, 2]))[0].shape == (0,)


def test_the_order_of_the_list_does_not_matter():
    one, two = router_of(private=[3, 8, 5]), router_of(private=[8, 5, 3])
    ids = ids_of(range(20))
    assert np.array_equal(one.active_sinks(ids), two.active_sinks(ids))


def test_a_deleted_private_source_is_refused_and_its_block_stays_its_own():
    router = router_of(private=[3, 8, 5], tombstones=[5])
    with pytest.raises(RefusedError, match="source id 5 was deleted"):
        router.active_sinks(ids_of([5]))
    live = router_of(private=[3, 8, 5])
    others = ids_of([3, 8, *range(100, 140)])
    assert np.array_equal(router.active_sinks(others), live.active_sinks(others))


def test_some_sinks_must_stay_shared():
    one_expert = replace(SPEC, num_experts=1)
    assert router_of(one_expert, range(7)).private.num_shared == 8
    with pytest.raises(ConfigError) as caught:
        router_of(one_expert, range(8))
    assert str(caught.value) == (
        "sinks.private_sources: sink expert 0 has 8 private sources, whose blocks take 64 of "
        "model.num_sinks (64); at least model.num_active (8) must stay shared; name fewer sources "
        "or raise model.num_sinks"
    )


def test_a_model_without_sinks_has_no_private_ones():
    without = replace(SPEC, num_sinks=0, num_active=0)
    assert router_of(without).private.num_shared == 0
    with pytest.raises(ConfigError, match="private_sources: sink expert"):
        router_of(without, [3])
