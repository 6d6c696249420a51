"""Post-hoc methods on two processes: `python -m tests.posthoc_ranks OUT` is one of them.

It writes OUT/rank-R.pt: case -> what it made of the model, and its record as JSON.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nulls_dist.errors import InputError
from nulls_dist.posthoc.causal_model import next_token_logits
from nulls_dist.posthoc.contract import Example, Request
from nulls_dist.posthoc.data_parallel import deepspeed_replicas
from nulls_dist.posthoc.evaluation import recall_of
from nulls_dist.posthoc.gradient_methods import NPO, GradientAscent
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.plan import Plan, StopRule
from nulls_dist.posthoc.replicas import ALONE, Replicas
from nulls_dist.posthoc.runner import run
from tests.posthoc_methods import METHODS
from tests.tiny_llama import FORGET, REQUEST, RETAIN, trained_llama

NUM_RANKS = 2
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _uneven(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    """Texts of which different numbers of tokens count."""
    return tuple(
        Example(tokens=(*example.tokens, *example.tokens[:extra]), start=2)
        for extra, example in enumerate(examples)
    )


UNEVEN = Request(
    forget_text=_uneven(FORGET),
    forget_prompts=REQUEST.forget_prompts,
    retain_text=_uneven(RETAIN),
    retain_prompts=REQUEST.retain_prompts,
)
PLAN = Plan(max_steps=4, batch_size=3, learning_rate=1e-3, evaluate_every=2)
"""Batches of three texts and of one: processes have unequal parts, and one of them none."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run."""

    method: Method
    plan: Plan = PLAN
    zero_stage: int = 1
    dtype: str = "float32"


CASES = {
    # One of each way that rows are weighted, weights are written, and parts have no gradient
    **{
        method.name: Case(method=method)
        for method in METHODS
        if method.name in ("KL-regularised ascent", "NPO", "RMU", "task arithmetic for unlearning")
    },
    "the same again": Case(method=NPO()),
    "ZeRO stage 2": Case(method=NPO(), zero_stage=2),
    "bfloat16": Case(method=NPO(), dtype="bfloat16"),
    "stopped": Case(
        method=GradientAscent(),
        plan=Plan(
            max_steps=30,
            learning_rate=3e-3,
            evaluate_every=1,
            stop=StopRule(score="forget/accuracy", at_most=0.5),
        ),
    ),
    "diverged": Case(method=GradientAscent(), plan=Plan(max_steps=9, learning_rate=1e30)),
}
DISAGREEMENT = "other seeds"


def run_case(case: Case, replicas: Replicas = ALONE) -> tuple[nn.Module, dict[str, Any]]:
    """Return what a run made of the model, and its record."""
    model = trained_llama().to(TYPES[case.dtype])
    outcome = run(model, case.method, UNEVEN, case.plan, recall_of(UNEVEN), replicas)
    return outcome.model, outcome.record.to_dict()


def answers(model: nn.Module) -> Tensor:
    """(texts, tokens, V) logits of the texts to forget and to keep."""
    with torch.no_grad():
        return next_token_logits(model, torch.tensor([each.tokens for each in FORGET + RETAIN]))


def main(out: Path) -> None:
    """Run all cases."""
    found: dict[str, Any] = {}
    with deepspeed_replicas() as joined:
        for name, case in CASES.items():
            replicas = type(joined)(
                rank=joined.rank,
                size=joined.size,
                device=joined.device,
                zero_stage=case.zero_stage,
            )
            model, record = run_case(case, replicas)
            found[name] = {"answers": answers(model), "record": json.dumps(record)}
        try:
            run(trained_llama(), NPO(), UNEVEN, Plan(max_steps=1, seed=joined.rank), None, joined)
        except InputError as error:
            found[DISAGREEMENT] = str(error)
    torch.save(found, out / f"rank-{joined.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
