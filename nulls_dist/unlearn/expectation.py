"""What deletions will cost, before there is a model: closed forms of the stratified router.

N sinks per expert and layer, K of them active per source, E experts, S sources of an expert. Two
sources of an expert share a given sink with probability (K / N) squared, independently over strata;
sources of different experts share none. The shares below hold in every layer. Where some sources
own sinks alone, S are the others and N the sinks that these share.
"""

from dataclasses import dataclass, replace
from math import exp, expm1, log1p

from nulls_dist.config.schema import ModelConfig
from nulls_dist.errors import RefusedError


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkLoad:
    """How sources share sinks, per layer; expectations over the router's hash."""

    sinks_per_source: int
    sources_per_expert: float
    """Of the fullest expert where a corpus is known, else their mean."""
    owners_per_sink: float
    """Sources that use a sink: S K / N."""
    overlap: float
    """Sinks that two sources of an expert share: K^2 / N."""
    exclusive: float
    """Probability that a source shares a given sink of its own with nobody: (1 - K/N)^(S-1)."""


def expect_sink_load(model: ModelConfig, sources_per_expert: float) -> SinkLoad:
    """Return how many sources share sinks.

    Args:
        model: with the stratified router.
        sources_per_expert: S, at least 1.
    """
    share = model.num_active / model.num_sinks
    return SinkLoad(
        sinks_per_source=model.num_active,
        sources_per_expert=sources_per_expert,
        owners_per_sink=sources_per_expert * share,
        overlap=model.num_active * share,
        exclusive=exp(_log_spared(share, sources_per_expert - 1)),
    )


def expect_collateral(model: ModelConfig, deletions: int, *, in_one_expert: bool) -> float:
    """Return the share of its sinks that a surviving source loses on average.

    1 - (1 - K/N)^D for survivors of the expert that held all D deleted sources. Over all survivors,
    with deletions spread at random, each takes a given sink with probability K / (N E).

    Args:
        model: with the stratified router.
        deletions: D, sources whose sinks are excised.
        in_one_expert: whether all of them are of the survivor's own expert.
    """
    return -expm1(_log_spared(_hit(model, in_one_expert=in_one_expert), deletions))


def largest_deletion(model: ModelConfig, budget: float, *, in_one_expert: bool) -> int:
    """Return how many deletions keep the expected collateral within a budget.

    Args:
        model: with the stratified router.
        budget: largest share, in (0, 1).
        in_one_expert: whether all deletions fall on the survivor's own expert.
    """
    hit = _hit(model, in_one_expert=in_one_expert)
    return 0 if hit == 1.0 else int(log1p(-budget) / log1p(-hit))


def check_deletable(model: ModelConfig, budget: float, *, num_private: int = 0) -> None:
    """Refuse a pool in which a single deletion breaks the budget.

    Args:
        model: with the stratified router.
        budget: largest share.
        num_private: sinks per expert and layer that are set aside for private sources.

    Raises:
        RefusedError: it does.
    """
    shared = replace(model, num_sinks=model.num_sinks - num_private)
    share = expect_collateral(shared, 1, in_one_expert=False)
    if share > budget:
        less = f", {num_private} of them private" if num_private else ""
        raise RefusedError(
            f"model.num_sinks ({model.num_sinks}{less}): one deletion would take {share:.2%} of "
            f"the sinks of an average survivor, above --max-collateral ({budget:.2%}); raise "
            "model.num_sinks or model.num_experts, or lower model.num_active "
            f"({model.num_active})"
        )


def _hit(model: ModelConfig, *, in_one_expert: bool) -> float:
    share = model.num_active / model.num_sinks
    return share if in_one_expert else share / model.num_experts


def _log_spared(hit: float, times: float) -> float:
    """Return the logarithm of (1 - hit) ** times, precise where `hit` is tiny."""
    if hit == 1.0:
        return 0.0 if times == 0 else float("-inf")
    return times * log1p(-hit)
