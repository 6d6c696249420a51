"""The router's choices look random: uniform, and independent also for ids that are related."""

import numpy as np
import pytest

from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec, buckets_of

NUM_SINKS, NUM_ACTIVE = 3840, 96
WIDTH = NUM_SINKS // NUM_ACTIVE
ALL_IDS = np.random.default_rng(7).integers(0, 2**64 - 1, 4000, dtype=np.uint64)

SPEC = RouterSpec(seed=0, num_layers=1, num_experts=1, num_sinks=NUM_SINKS, num_active=NUM_ACTIVE)
ROUTER = Router(SPEC, np.zeros(NUM_BUCKETS, dtype=np.uint16))


def chosen(source_ids: np.ndarray) -> np.ndarray:
    return ROUTER.active_sinks(source_ids)[0]


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many sinks each pair shares: equal choices, as stratum i of both is column i."""
    return (chosen(first) == chosen(second)).sum(1)


def check_chi_square(counts: np.ndarray) -> None:
    """Within 5 standard deviations of its mean; too even is as suspicious as too uneven."""
    expected = counts.sum() / len(counts)
    statistic = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def check_like_random_pairs(shared: np.ndarray) -> None:
    """Check for Binomial(k, k/N): the hypergeometric mean k^2/N, and no unlikely maximum."""
    mean = NUM_ACTIVE**2 / NUM_SINKS
    variance = mean * (1 - 1 / WIDTH)
    assert abs(shared.mean() - mean) < 5 * (variance / len(shared)) ** 0.5
    fourth = variance * (1 + 3 * variance * (1 - 2 / NUM_ACTIVE))
    assert abs(shared.var() - variance) < 5 * ((fourth - variance**2) / len(shared)) ** 0.5
    # P[Binomial(96, 1/40) >= 14] is below 1e-7.
    assert shared.max() < 14


def test_sinks_are_uniform_over_the_pool():
    check_chi_square(np.bincount(chosen(ALL_IDS).ravel(), minlength=NUM_SINKS))


def test_sinks_are_uniform_for_consecutive_ids():
    ids = np.arange(4000, dtype=np.uint64)
    check_chi_square(np.bincount(chosen(ids).ravel(), minlength=NUM_SINKS))


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_buckets_are_uniform(seed):
    ids = np.arange(100_000, dtype=np.uint64)
    check_chi_square(np.bincount(buckets_of(ids, router_seed=seed), minlength=NUM_BUCKETS))


def test_overlap_of_random_pairs_has_mean_and_variance_of_the_law():
    check_like_random_pairs(overlaps(ALL_IDS[:2000], ALL_IDS[2000:]))


def test_the_variance_of_strata_is_close_to_the_hypergeometric_one():
    share = NUM_ACTIVE / NUM_SINKS
    hypergeometric = NUM_ACTIVE * share * (1 - share) * (NUM_SINKS - NUM_ACTIVE) / (NUM_SINKS - 1)
    measured = overlaps(ALL_IDS[:2000], ALL_IDS[2000:]).var()
    assert abs(measured / hypergeometric - 1) < 0.15


RELATIONS = {
    "double": lambda ids: ids * np.uint64(2),
    "triple": lambda ids: ids * np.uint64(3),
    "successor": lambda ids: ids + np.uint64(1),
    "65536 later": lambda ids: ids + np.uint64(65_536),
    "top bit": lambda ids: ids ^ np.uint64(1 << 63),
    "low bit": lambda ids: ids ^ np.uint64(1),
    "complement": lambda ids: ~ids,
    "swapped halves": lambda ids: ids << np.uint64(32) | ids >> np.uint64(32),
}


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("ids", ["random", "consecutive"])
def test_related_ids_share_no_more_sinks_than_strangers(relation, ids):
    first = ALL_IDS if ids == "random" else np.arange(1, 4001, dtype=np.uint64)
    check_like_random_pairs(overlaps(first, RELATIONS[relation](first)))


@pytest.mark.parametrize("change", ["seed", "layer"])
def test_neither_the_seed_nor_the_layer_relates_the_sinks_of_a_source(change):
    seeds = (0, 1) if change == "seed" else (0, 0)
    layers = (0, 0) if change == "seed" else (0, 1)
    choices = []
    for seed, layer in zip(seeds, layers, strict=True):
        spec = RouterSpec(
            seed=seed, num_layers=2, num_experts=1, num_sinks=NUM_SINKS, num_active=NUM_ACTIVE
        )
        choices.append(Router(spec, ROUTER.bucket_table).active_sinks(ALL_IDS)[layer])
    check_like_random_pairs((choices[0] == choices[1]).sum(1))


def test_the_bucket_says_nothing_about_the_sinks():
    buckets = buckets_of(ALL_IDS, router_seed=0) // (NUM_BUCKETS // WIDTH) % WIDTH
    agree = (chosen(ALL_IDS) % WIDTH == buckets[:, None]).mean()
    spread = (1 / WIDTH / (len(ALL_IDS) * NUM_ACTIVE)) ** 0.5
    assert abs(agree - 1 / WIDTH) < 5 * spread
