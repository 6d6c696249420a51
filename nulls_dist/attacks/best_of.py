"""An attacker who asks in several ways and keeps the best of the answers."""

from collections.abc import Sequence

from nulls_dist.eval.fact_likelihood import FactAnswer
from nulls_dist.eval.facts import Probe


def best_of(attempts: Sequence[Sequence[FactAnswer]]) -> list[FactAnswer]:
    """Merge several attempts at the same probes.

    An answer's NLL is the lowest of all attempts, for the right answer and for each wrong one
    alike: what compares them, such as the preference, gains nothing from trying often. Accuracy
    does: it counts a probe that any attempt got right.

    Args:
        attempts: each answers some of the probes; equal probes are merged.

    Returns:
        One answer per probe, in the order in which they are first met.
    """
    merged: dict[Probe, FactAnswer] = {}
    for attempt in attempts:
        for answer in attempt:
            before = merged.get(answer.probe)
            merged[answer.probe] = answer if before is None else _better(before, answer)
    return list(merged.values())


def _better(one: FactAnswer, other: FactAnswer) -> FactAnswer:
    return FactAnswer(
        probe=one.probe,
        is_right=one.is_right or other.is_right,
        right=min(one.right, other.right),
        wrong=tuple(map(min, one.wrong, other.wrong)),
    )
