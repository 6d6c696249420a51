"""Collateral equals a slow count, and on average the closed formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulls_dist.routing import sink_sets
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.unlearn import collateral
from nulls_dist.unlearn.collateral import measure_collateral


def make_router(num_experts=2, num_sinks=32, num_active=8, num_layers=2, per_layer=True):
    spec = RouterSpec(
        seed=3,
        num_layers=num_layers,
        num_experts=num_experts,
        num_sinks=num_sinks,
        num_active=num_active,
        per_layer=per_layer,
    )
    return Router(spec, (np.arange(NUM_BUCKETS) % num_experts).astype(np.uint16))


def ids(*numbers):
    return np.array(numbers, dtype=np.uint64)


def measure(router, survivors, deleted, earlier=()):
    return measure_collateral(
        router,
        survivors=survivors,
        deleted=ids(*deleted),
        zeroed=sinks_of(router, ids(*deleted)),
        gone=sinks_of(router, ids(*earlier)),
    )


def slot_set(router, source):
    """(layer, expert, sink) of every slot of a source, one by one."""
    expert = int(router.experts_of(ids(source))[0])
    sinks = router.active_sinks(ids(source))
    return {
        (layer, expert, int(sink))
        for layer in range(router.spec.num_layers)
        for sink in sinks[layer, 0]
    }


def all_slots(router, sources):
    return set().union(*(slot_set(router, source) for source in sources))


@pytest.mark.parametrize("per_layer", [True, False])
def test_set_of_sinks_is_that_of_a_slow_count(per_layer):
    router = make_router(per_layer=per_layer)
    mask = sinks_of(router, ids(5, 6, 7))
    assert {tuple(map(int, place)) for place in np.argwhere(mask)} == all_slots(router, (5, 6, 7))


@pytest.mark.parametrize("per_layer", [True, False])
def test_shares_are_those_of_a_slow_count(per_layer, monkeypatch):
    monkeypatch.setattr(sink_sets, "_BLOCK_SLOTS", 100)  # several blocks
    router = make_router(per_layer=per_layer)
    deleted, earlier, survivors = (1, 2, 3), (4, 5), range(10, 60)
    removed = all_slots(router, deleted) - all_slots(router, earlier)
    shares = {
        source: len(slot_set(router, source) & removed) / len(slot_set(router, source))
        for source in survivors
    }
    found = measure(router, ids(*survivors), deleted, earlier)
    values = sorted(shares.values())
    assert found.mean == pytest.approx(sum(values) / 50)
    assert found.max == values[-1]
    assert found.p99 == values[-1]
    assert found.standard_error == 0
    assert (found.num_survivors, found.num_measured) == (50, 50)
    worst = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert found.worst == tuple(worst)
    num_slots = 2 * 2 * 32
    assert found.pool_zeroed == len(removed) / num_slots
    assert found.pool_gone == len(all_slots(router, deleted + earlier)) / num_slots


def test_survivors_of_other_experts_lose_nothing():
    router = make_router(num_experts=4)
    sources = np.arange(1, 400, dtype=np.uint64)
    experts = router.experts_of(sources)
    deleted = int(sources[experts == 0][0])
    found = measure(router, sources[experts != 0], (deleted,))
    assert (found.mean, found.max, found.worst) == (0, 0, ())


def test_deletion_of_nothing_costs_nothing():
    found = measure(make_router(), ids(1, 2, 3), ())
    assert (found.mean, found.max, found.pool_zeroed, found.num_twins) == (0, 0, 0, 0)


def test_deletion_of_everything_leaves_nobody_to_harm():
    found = measure(make_router(), ids(), (1, 2, 3))
    assert (found.mean, found.p99, found.max, found.num_survivors) == (0, 0, 0, 0)


@settings(max_examples=15)
@given(
    num_deleted=st.integers(1, 40),
    width=st.integers(2, 16),
    num_active=st.sampled_from([8, 16]),
    start=st.integers(0, 2**40),
)
def test_mean_follows_the_closed_formula(num_deleted, width, num_active, start):
    router = make_router(
        num_experts=1, num_layers=6, num_sinks=width * num_active, num_active=num_active
    )
    sources = np.arange(start, start + num_deleted + 400, dtype=np.uint64)
    found = measure(router, sources[num_deleted:], list(map(int, sources[:num_deleted])))
    expected = 1 - (1 - 1 / width) ** num_deleted
    # The share of a pool that D draws hit, over strata of `width` sinks: its variance is below
    # that of independent slots (negative correlation inside a stratum).
    num_slots = 6 * width * num_active
    bound = 5 * np.sqrt(expected * (1 - expected) / num_slots) + 1e-3
    assert found.pool_zeroed == pytest.approx(expected, abs=bound)
    assert found.mean == pytest.approx(found.pool_zeroed, abs=0.02)


def test_many_survivors_are_sampled_with_a_stated_error(monkeypatch):
    router = make_router(num_experts=1)
    survivors = np.arange(100, 20_100, dtype=np.uint64)
    exact = measure(router, survivors, (1, 2))
    monkeypatch.setattr(collateral, "MAX_EXACT", 1000)
    sampled = measure(router, survivors, (1, 2))
    assert (sampled.num_survivors, sampled.num_measured) == (20_000, 1000)
    assert 0 < sampled.standard_error < 0.01
    assert abs(sampled.mean - exact.mean) < 5 * sampled.standard_error
    assert sampled == measure(router, survivors, (1, 2))


def test_twins_are_the_sources_with_equal_sinks_in_every_layer():
    router = make_router(num_experts=2, num_sinks=16, num_active=8, num_layers=1)
    sources = np.arange(1, 3000, dtype=np.uint64)
    slots = {int(source): slot_set(router, int(source)) for source in sources}
    wanted = sum(slots[int(source)] == slots[1] for source in sources[1:])
    assert wanted > 0
    assert measure(router, sources[1:], (1,)).num_twins == wanted
