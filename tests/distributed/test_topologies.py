"""Samples of the parity and resume tables, and the whole tables among the slow tests."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from nulls_dist.benchmark.elastic import TOPOLOGIES, Transition, change_topologies
from nulls_dist.benchmark.parity import Difference, compare
from nulls_dist.benchmark.topologies import BASE, COMBINATIONS, Combination

pytestmark = pytest.mark.distributed


def named(combinations: Sequence[Combination], *names: str) -> list[Combination]:
    found = [each for each in combinations if each.name in names]
    assert len(found) == len(names)
    return found


def check_parity(differences: Sequence[Difference]) -> None:
    for row in differences:
        assert row.smallest_grad_norm > BASE["optim.grad_clip"], "clipping is active"
        assert row.within_bounds, row


def check_transitions(transitions: Sequence[Transition]) -> None:
    for row in transitions:
        assert row.loaded_exactly, row
        assert row.same_targets, row
        assert row.within_bounds, row


def test_combinations_train_like_one_process(corpus: Path, tmp_path: Path) -> None:
    names = ("fp32", "EP2 ZeRO-2 overlap", "DP2 ZeRO-2 overlap recompute", "TP2")
    differences = compare(named(COMBINATIONS, *names), corpus, tmp_path)
    assert [row.topology for row in differences] == [
        {"dp": 2, "ep": 2, "edp": 1, "tp": 1},
        {"dp": 2, "ep": 1, "edp": 2, "tp": 1},
        {"dp": 1, "ep": 1, "edp": 1, "tp": 2},
    ]
    check_parity(differences)


def test_a_run_changes_between_one_process_and_tensor_parallel_ranks(
    corpus: Path, tmp_path: Path
) -> None:
    transitions = change_topologies(named(TOPOLOGIES, "1", "TP2"), corpus, tmp_path)
    assert len(transitions) == 4
    check_transitions(transitions)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_combination_trains_like_one_process(corpus: Path, tmp_path: Path) -> None:
    check_parity(compare(COMBINATIONS, corpus, tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_changes_between_any_two_topologies(corpus: Path, tmp_path: Path) -> None:
    check_transitions(change_topologies(TOPOLOGIES, corpus, tmp_path))
