"""Post-hoc methods on two processes against one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nulls_dist.posthoc.plan import Ending
from tests.launch import mpirun_environment, start_module
from tests.posthoc_ranks import CASES, DISAGREEMENT, NUM_RANKS, answers, run_case
from tests.small_models import relative_error

pytestmark = pytest.mark.distributed

FP32 = 1e-5
"""Relative: sums of the same terms in another order. Measured: 7e-7."""
BF16 = 5e-2
"""One process rounds its weights to bfloat16, two keep them in float32. Measured: 1.5e-2."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found: rank -> case -> results."""
    out: Path = tmp_path_factory.mktemp("ranks")
    words = ["tests.posthoc_ranks", str(out)]
    start_module(words, num_processes=NUM_RANKS, launcher=mpirun_environment).wait()
    return [torch.load(out / f"rank-{rank}.pt", weights_only=True) for rank in range(NUM_RANKS)]


def records_of(ranks: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [json.loads(found[name]["record"]) for found in ranks]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_of_a_model_what_one_does(
    name: str, ranks: list[dict[str, Any]]
) -> None:
    case = CASES[name]
    bound = FP32 if case.dtype == "float32" else BF16
    model, alone = run_case(case)
    together = records_of(ranks, name)[0]
    assert relative_error(ranks[0][name]["answers"], answers(model)) <= bound
    assert torch.equal(ranks[0][name]["answers"], ranks[1][name]["answers"])
    assert together["ending"] == alone["ending"]
    assert together["parallel"] == {
        "processes": NUM_RANKS,
        "zero_stage": case.zero_stage,
        "deepspeed": together["parallel"]["deepspeed"],
    }
    for counted in ("forward_tokens", "backward_tokens", "decoded_tokens", "extra_parameters"):
        assert together["cost"][counted] == alone["cost"][counted]
    for here, there in zip(alone["evaluations"], together["evaluations"], strict=True):
        assert there["at"] == here["at"]
        assert there["scores"] == pytest.approx(here["scores"], rel=bound)


def test_what_is_compared_has_moved_and_ends_in_every_way(ranks: list[dict[str, Any]]) -> None:
    records = {name: records_of(ranks, name)[0] for name in CASES}
    changed = {name for name, record in records.items() if record["sanity"]["changed"]}
    assert changed == set(CASES)
    endings = {record["ending"] for record in records.values()}
    assert endings == {Ending.PLAN, Ending.RULE, Ending.DIVERGED}


def test_a_part_that_no_loss_reaches_does_not_decay(ranks: list[dict[str, Any]]) -> None:
    here = run_case(CASES["RMU"])[1]["sanity"]
    there = records_of(ranks, "RMU")[0]["sanity"]
    assert 0 < here["num_changed_tensors"] < here["num_tensors"]
    assert there["num_changed_tensors"] == here["num_changed_tensors"]


def test_the_same_run_gives_the_same_bits(ranks: list[dict[str, Any]]) -> None:
    first, second = (records_of(ranks, name)[0]["model"] for name in ("NPO", "the same again"))
    assert first == second


def test_processes_with_different_plans_are_refused(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert "of process 1 is not that of process 0" in found[DISAGREEMENT]
