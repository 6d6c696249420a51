"""Closed forms of load and collateral: known values, and the real router drawn many times."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from nulls_dist.config.presets import load_preset
from nulls_dist.errors import RefusedError
from nulls_dist.routing.router import Router, RouterSpec
from nulls_dist.unlearn.expectation import (
    check_deletable,
    expect_collateral,
    expect_sink_load,
    largest_deletion,
)


def pool(sinks, active, experts=1):
    model = load_preset("nulls_1b").model
    return replace(model, num_sinks=sinks, num_active=active, num_experts=experts)


PAPER = pool(7680, 96)


@pytest.mark.parametrize(
    ("sinks", "five_percent", "half"),
    # By hand, N = 7680: (1 - 1/80)^4 = .9509 and ^5 = .9391; ^55 = .5006 and ^56 = .4944.
    [(7680, 4, 55), (61_440, 32, 443), (491_520, 262, 3548)],
)
def test_deletions_within_a_budget(sinks, five_percent, half):
    model = pool(sinks, 96)
    for budget, count in ((0.05, five_percent), (0.5, half)):
        assert largest_deletion(model, budget, in_one_expert=True) == count
        spared = [(1 - 96 / sinks) ** deletions for deletions in (count, count + 1)]
        assert 1 - spared[0] <= budget < 1 - spared[1]


@pytest.mark.parametrize(
    ("deletions", "share"),
    [(0, 0.0), (1, 0.0125), (4, 0.0491), (10, 0.1182), (55, 0.499), (80, 0.634), (200, 0.919)],
)
def test_collateral_of_the_papers_pool(deletions, share):
    found = expect_collateral(PAPER, deletions, in_one_expert=True)
    assert found == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize(
    ("sinks", "sources", "owners", "exclusive"),
    [
        (7680, 5_000, 62.5, 5e-28),
        (7680, 6_400_000, 80_000, 0),
        (61_440, 5_000, 7.8125, 4.05e-4),
        (491_520, 5_000, 0.9766, 0.377),
    ],
)
def test_owners_and_exclusive_sinks(sinks, sources, owners, exclusive):
    load = expect_sink_load(pool(sinks, 96), sources)
    assert load.owners_per_sink == pytest.approx(owners, rel=1e-3)
    assert load.exclusive == pytest.approx(exclusive, rel=0.02)
    assert load.overlap == pytest.approx(96**2 / sinks)


def test_deletions_spread_over_experts_cost_the_average_survivor_less():
    """Binomially many of them fall on a survivor's expert; the sum over all cases, by hand."""
    model, deletions = pool(768, 96, experts=4), 6
    cases = [
        comb(deletions, here)
        * 0.25**here
        * 0.75 ** (deletions - here)
        * expect_collateral(model, here, in_one_expert=True)
        for here in range(deletions + 1)
    ]
    found = expect_collateral(model, deletions, in_one_expert=False)
    assert found == pytest.approx(sum(cases))


def test_a_pool_that_every_source_fills():
    model = pool(96, 96)
    assert expect_collateral(model, 1, in_one_expert=True) == 1.0
    assert expect_collateral(model, 0, in_one_expert=True) == 0.0
    assert largest_deletion(model, 0.5, in_one_expert=True) == 0
    assert expect_sink_load(model, 2).exclusive == 0.0
    assert expect_sink_load(model, 1).exclusive == 1.0


def test_tiny_shares_keep_their_digits():
    model = pool(96 * 10**12, 96)
    assert expect_collateral(model, 3, in_one_expert=True) == pytest.approx(3e-12, rel=1e-9)


def test_a_pool_that_no_deletion_fits_is_refused_with_the_remedy():
    check_deletable(PAPER, 0.0125)
    with pytest.raises(RefusedError) as caught:
        check_deletable(PAPER, 0.012)
    assert "model.num_sinks (7680): one deletion would take 1.25%" in str(caught.value)
    assert "--max-collateral (1.20%); raise model.num_sinks" in str(caught.value)


def routed_sinks(model, num_sources):
    """Whether each source uses each sink, layers as independent draws: (L, S, N)."""
    spec = RouterSpec(
        seed=3, num_layers=8, num_experts=1, num_sinks=model.num_sinks, num_active=model.num_active
    )
    router = Router(spec, np.zeros(4096, dtype=np.uint16))
    sinks = router.active_sinks(np.arange(num_sources, dtype=np.uint64))
    uses = np.zeros((8, num_sources, model.num_sinks), dtype=bool)
    np.put_along_axis(uses, sinks, True, axis=-1)
    return uses


def test_the_real_router_shares_sinks_as_expected():
    model, num_sources = pool(256, 8), 400
    uses = routed_sinks(model, num_sources)
    load = expect_sink_load(model, num_sources)
    owners = uses.sum(axis=1)
    assert owners.mean() == load.owners_per_sink  # exactly: every source has K
    counts = uses.astype(np.int64)
    shared = counts @ counts.transpose(0, 2, 1)
    pairs = shared[:, ~np.eye(num_sources, dtype=bool)]
    # 8 layers of 79,800 pairs, variance near K^2/N: the mean's standard error is 6e-4.
    assert pairs.mean() == pytest.approx(load.overlap, abs=3e-3)
    few = expect_sink_load(model, 20)
    alone = (uses[:, :20].sum(axis=1, keepdims=True) == 1) & uses[:, :20]
    # 1,280 sinks of sources, p near .55: the standard error is .014.
    assert alone.sum() / (8 * 20 * 8) == pytest.approx(few.exclusive, abs=0.05)


@pytest.mark.parametrize("deletions", [1, 5, 25])
def test_the_real_routers_collateral_is_as_expected(deletions):
    model = pool(256, 8)
    uses = routed_sinks(model, 400)
    gone = uses[:, :deletions].any(axis=1)
    lost = (uses[:, deletions:] & gone[:, None]).sum(axis=-1) / 8
    # The removed sinks are few and common to all survivors: repeat over layers and sets of deleted.
    shares = [lost.mean()]
    for first in range(deletions, 400 - deletions, deletions):
        group = slice(first, first + deletions)
        gone = uses[:, group].any(axis=1)
        others = np.delete(uses, np.arange(400)[group], axis=1)
        shares.append((others & gone[:, None]).sum(axis=-1).mean() / 8)
        if len(shares) == 15:
            break
    expected = expect_collateral(model, deletions, in_one_expert=True)
    assert np.mean(shares) == pytest.approx(expected, rel=0.03)
