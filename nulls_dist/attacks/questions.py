"""Probes in tokens, and means of what was found over their groups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import group_of
from nulls_dist.eval.facts import Probe, answer_start
from nulls_dist.eval.metrics.intervals import clustered_mean
from nulls_dist.eval.metrics.result import Metric, MetricResult

Tokens = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A probe in tokens."""

    prompt: Tokens
    """At least one token; ends where the first of the answers begins."""
    right: Tokens
    """The right answer and its full stop."""
    wrong: tuple[Tokens, ...]
    """Likewise."""


def tokenize_probe(tokenizer: Tokenizer, probe: Probe) -> Question:
    """Return a probe's tokens; what one answer fuses with is left out of the prompt for all."""
    texts = [
        answer_start(tokenizer, probe.prompt, answer)
        for answer in (probe.answer, *probe.wrong_answers)
    ]
    start = max(1, min(start for _, start in texts))
    right, *wrong = (tuple(tokens[start:]) for tokens, _ in texts)
    return Question(prompt=tuple(texts[0][0][:start]), right=right, wrong=tuple(wrong))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A number per probe."""

    metric: Metric
    values: Mapping[int, float]
    """Place of a probe -> its value; probes without one are left out."""
    details: Mapping[str, float] = field(default_factory=dict)


def mean_by_group(probes: Sequence[Probe], findings: Sequence[Finding]) -> list[MetricResult]:
    """Return the mean of each finding over each kind and phrasing of facts that has any."""
    members: dict[str, list[int]] = defaultdict(list)
    for place, probe in enumerate(probes):
        members[group_of(probe)].append(place)
    return [
        _mean(finding, group, probes, found)
        for group, places in sorted(members.items())
        for finding in findings
        if (found := [place for place in places if place in finding.values])
    ]


def _mean(
    finding: Finding, group: str, probes: Sequence[Probe], places: Sequence[int]
) -> MetricResult:
    values = [finding.values[place] for place in places]
    sources = np.array([probes[place].source_id for place in places], dtype=np.uint64)
    return MetricResult(
        metric=finding.metric,
        group=group,
        value=float(np.mean(values)),
        n=len(values),
        interval=clustered_mean(values, sources),
        details=finding.details,
    )
