"""The rule of `rival_efforts`: the first of several plans whose stop rule is met, else the last."""

from collections.abc import Sequence
from typing import Any, Final

from torch import nn

from nulls_dist.posthoc.causal_model import Snapshot
from nulls_dist.posthoc.contract import Request
from nulls_dist.posthoc.evaluation import Evaluate
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.plan import Ending, Plan
from nulls_dist.posthoc.runner import Outcome, run

_MET: Final = (Ending.RULE, Ending.ALREADY)


def tune(
    model: nn.Module, method: Method, request: Request, plans: Sequence[Plan], evaluate: Evaluate
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Unlearn by one plan after the other, each from the same weights, until a stop rule is met.

    Args:
        model: as `runner.run` takes it, and errors likewise; changed in place.
        method: the method.
        request: what to forget.
        plans: in the order in which they are tried, at least one.
        evaluate: scores along the way.

    Returns:
        The last run, and a JSON-ready entry for each.
    """
    start = Snapshot(model)
    tried = []
    for plan in plans:
        start.restore(model)
        outcome = run(model, method, request, plan, evaluate)
        tried.append(_describe(outcome))
        if outcome.record.ending in _MET:
            break
    return outcome, tried


def _describe(outcome: Outcome) -> dict[str, Any]:
    record = outcome.record
    return {
        "learning_rate": record.plan.learning_rate,
        "ending": record.ending.value,
        "evaluations": [evaluation.to_dict() for evaluation in record.evaluations],
        "collapsed": record.sanity.collapsed,
        "seconds": record.cost.seconds,
    }
