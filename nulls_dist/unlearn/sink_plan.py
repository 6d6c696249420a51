"""How a pool of sinks would serve a number of sources, and what deletions would cost them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np

from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import ConfigError
from nulls_dist.hashing import U64Array
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.private import PrivateBlocks
from nulls_dist.routing.router import buckets_of
from nulls_dist.unlearn.expectation import expect_collateral, expect_sink_load, largest_deletion
from nulls_dist.unlearn.private_list import PrivateDemand, format_private, weigh_private

_DELETIONS: Final = (1, 10, 100)


def plan_sinks(
    model: ModelConfig,
    *,
    sources: int | Corpus,
    deletions: Sequence[int] | None,
    max_collateral: float,
    private: PrivateBlocks | None = None,
) -> dict[str, Any]:
    """Return load, collateral and balance of a sink pool.

    Args:
        model: the pool.
        sources: how many there are, or the corpus that has them: then experts are balanced as a
            run would balance them, and counted exactly.
        deletions: numbers of deleted sources to weigh; None takes some that there are.
        max_collateral: largest share of its sinks that an average survivor may lose.
        private: blocks of the corpus's private sources; load and collateral are then those of the
            other sources, which share what is left of the pool.

    Raises:
        ConfigError: an argument breaks a rule, or the router is not the stratified one.
        InputError: the corpus has too few sources for the experts.
    """
    if model.router != "stratified":
        raise ConfigError(
            f"model.router ({model.router}) is for loading released weights; plan with stratified"
        )
    if not model.has_sinks:
        raise ConfigError(f"model.num_sinks ({model.num_sinks}) must be above 0 to plan sinks")
    if not 0 < max_collateral < 1:
        raise ConfigError(f"--max-collateral ({max_collateral}) must be above 0 and below 1")
    owners = private.source_ids if private else np.empty(0, dtype=np.uint64)
    demand = weigh_private(model, private) if private else None
    experts = _count_experts(model, sources, owners) if isinstance(sources, Corpus) else None
    num_sources = sum(experts["sources"]) if experts else sources
    assert isinstance(num_sources, int)
    if num_sources < model.num_experts:
        raise ConfigError(
            f"--sources ({num_sources}) must be at least model.num_experts ({model.num_experts}): "
            "every expert needs a source; take fewer experts"
        )
    num_sharing = num_sources - len(owners)
    if deletions is None:
        deletions = [count for count in _DELETIONS if count < num_sharing]
    for count in deletions:
        if count >= num_sharing:
            raise ConfigError(
                f"--deletions ({count}) must be below the number of sources ({num_sharing})"
            )
    fullest = max(experts["shared_sources"]) if experts else num_sources / model.num_experts
    shared = replace(model, num_sinks=demand.shared_sinks_per_expert) if demand else model
    return {
        "num_sources": num_sources,
        "num_experts": model.num_experts,
        "num_sinks": model.num_sinks,
        "private": asdict(demand) if demand else None,
        "load": asdict(expect_sink_load(shared, max(1, fullest))),
        "experts": experts,
        "collateral": [
            {
                "deletions": count,
                "mean": expect_collateral(shared, count, in_one_expert=False),
                "in_one_expert": expect_collateral(shared, count, in_one_expert=True),
            }
            for count in deletions
        ],
        "largest_deletion": {
            "max_collateral": max_collateral,
            "mean": largest_deletion(shared, max_collateral, in_one_expert=False),
            "in_one_expert": largest_deletion(shared, max_collateral, in_one_expert=True),
        },
    }


def _count_experts(model: ModelConfig, corpus: Corpus, private: U64Array) -> dict[str, Any]:
    """Return sources and tokens of every expert, as a run on this corpus would deal them."""
    tokens = corpus.tokens_per_bucket()
    table = balance_buckets(tokens, model.num_experts).astype(np.int64)
    ids = np.unique(corpus.source_ids)
    experts = table[buckets_of(ids, router_seed=corpus.manifest.router_seed)]
    per_expert = np.zeros(model.num_experts, dtype=np.int64)
    np.add.at(per_expert, table, tokens)
    sharing = experts[np.isin(ids, private, invert=True)]
    return {
        "sources": np.bincount(experts, minlength=model.num_experts).tolist(),
        "shared_sources": np.bincount(sharing, minlength=model.num_experts).tolist(),
        "tokens": per_expert.tolist(),
        "imbalance": float(per_expert.max() / per_expert.mean() - 1),
    }


def format_sink_plan(plan: dict[str, Any]) -> str:
    """Return a plan for a person."""
    load, experts, limit = plan["load"], plan["experts"], plan["largest_deletion"]
    demand = PrivateDemand(**plan["private"]) if plan["private"] else None
    active = load["sinks_per_source"]
    pool = demand.shared_sinks_per_expert if demand else plan["num_sinks"]
    shared = load["overlap"] / active
    lines = [
        ("sources", f"{plan['num_sources']:,} on {plan['num_experts']} experts"),
        ("sinks per source", f"{active} of {pool:,} per layer ({active / pool:.2%})"),
        ("owners per sink", f"{load['owners_per_sink']:,.2f} sources"),
        ("overlap", f"{load['overlap']:.2f} sinks ({shared:.2%}) of two sources of one expert"),
        ("exclusive", f"{load['exclusive']:.3g}: probability that a sink serves one source only"),
    ]
    if demand:
        lines.insert(1, ("private sources", format_private(demand, plan["num_sinks"])))
    if experts:
        counts, tokens = experts["sources"], experts["tokens"]
        lines += [
            ("sources/expert", f"{min(counts):,} to {max(counts):,}"),
            (
                "tokens/expert",
                f"{min(tokens):,} to {max(tokens):,}; the fullest has {experts['imbalance']:.3%} "
                "more than the mean",
            ),
        ]
    lines += [
        (
            f"delete {row['deletions']:,}",
            f"collateral {row['mean']:.3%} on average; {row['in_one_expert']:.3%} in an expert "
            "that held all of them",
        )
        for row in plan["collateral"]
    ]
    lines.append(
        (
            f"within {limit['max_collateral']:.1%}",
            f"{limit['mean']:,} deletions at random; {limit['in_one_expert']:,} in one expert",
        )
    )
    return "\n".join(f"{name:<18}{text}" for name, text in lines)
