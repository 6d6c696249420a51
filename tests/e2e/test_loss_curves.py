"""A short run of the tiny preset and of its dense controls loses what it lost before."""

import json
from pathlib import Path
from typing import Any

import pytest

from nulls_dist.data.corpus import Corpus
from tests.loss_curves import (
    CORPUS,
    GOLDEN,
    RUNS,
    TOLERANCE,
    build_golden_corpus,
    digest_of,
    record_curve,
)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(GOLDEN.read_text())
    return content


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_golden_corpus(tmp_path_factory.mktemp("golden") / "corpus")


def test_the_file_records_the_commands_that_are_run_here(golden: dict[str, Any]) -> None:
    assert golden["relative_tolerance"] == TOLERANCE
    assert CORPUS in golden["corpus"]["command"]
    assert set(golden["runs"]) == set(RUNS)
    for name, run in golden["runs"].items():
        assert RUNS[name] in run["command"]


def test_the_corpus_is_the_one_of_the_golden_curves(golden: dict[str, Any], corpus: Path) -> None:
    """First of all: other text has another curve, and says nothing of the training."""
    assert digest_of(Corpus(corpus)) == golden["corpus"]["sha256_of_sources_and_tokens"]


@pytest.mark.parametrize("name", RUNS)
def test_every_loss_is_that_of_the_golden_curve(
    name: str, golden: dict[str, Any], corpus: Path, tmp_path: Path
) -> None:
    expected = golden["runs"][name]["loss_nats"]
    assert len(expected) == 30
    assert record_curve(name, corpus, tmp_path / "run") == pytest.approx(
        expected, rel=golden["relative_tolerance"]
    )
