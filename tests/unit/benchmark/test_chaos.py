"""Faults of a chaos run: a plan that repeats, in order, with all kinds in it."""

from collections import Counter

import pytest

from nulls_dist.benchmark.chaos.faults import plan_faults
from nulls_dist.benchmark.chaos.report import format_chaos


def test_the_same_seed_gives_the_same_faults_and_another_one_others():
    assert plan_faults(24, steps=2000, seed=1) == plan_faults(24, steps=2000, seed=1)
    assert plan_faults(24, steps=2000, seed=1) != plan_faults(24, steps=2000, seed=2)


@pytest.mark.parametrize("seed", range(20))
def test_faults_strike_in_order_before_the_end_and_are_of_every_kind(seed):
    faults = plan_faults(24, steps=100, seed=seed)
    steps = [fault.after_step for fault in faults]
    assert steps == sorted(steps)
    assert 1 <= steps[0] <= steps[-1] <= 95
    assert Counter(fault.kind for fault in faults) == {
        "kill": 9,
        "preemption": 6,
        "SAVE": 3,
        "STOP": 3,
        "kill at start": 3,
    }
    assert all(0 <= fault.delay_s <= 3 for fault in faults)


def test_a_broken_promise_is_told():
    run = {
        "kept": False,
        "faults": {"kill": 3},
        "lives": 4,
        "seconds": 9.5,
        "num_differing_steps": 1,
        "num_steps": 100,
        "largest_loss_difference": 0.5,
        "largest_window_difference": 0.25,
        "num_differing_tensors": 2,
        "num_tensors": 104,
        "same_ledger": False,
        "survivors": 3,
        "survivors_killed": 1,
        "num_segments": 5,
        "num_lost_segments": 7,
        "broken_promises": ["kill after step 5: exit codes [0, -9]"],
        "leftovers": ["checkpoints/.step-00000005.partial"],
    }
    kept = {**run, "kept": True, "broken_promises": [], "leftovers": []}
    said = format_chaos(
        {
            "steps": 100,
            "undisturbed_s": 3.0,
            "window": 50,
            "one_topology": run,
            "many_topologies": kept,
            "other_topology": kept,
        }
    )
    assert "one topology: BROKEN\n  3 kill; 4 lives, 9.5 s" in said
    assert "kill after step 5: exit codes [0, -9]" in said
    assert ".step-00000005.partial" in said
    assert "many topologies: kept" in said
    assert "DIFFERS" in said
    assert "1 of 3 other ranks had to be killed, too" in said
    assert said.endswith("loss at most 5.0e-01 off in a step, 2.5e-01 in 50 steps")
