"""The speed benchmarks compare equal models on real corpora and clean up after themselves."""

import json

import numpy as np
import pytest

from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.cli import run_command
from nulls_dist.data.format import partition_of
from nulls_dist.errors import ConfigError
from tools import bench


def measure(capsys, *words):
    assert run_command(bench.main, [*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_random_corpus_keeps_the_rules_of_the_format(tmp_path):
    corpus = write_random_corpus(tmp_path / "corpus", num_tokens=600_000, vocab_size=300)
    assert corpus.lengths.sum() == pytest.approx(600_000, rel=0.25)
    assert len(set(corpus.source_ids.tolist())) == corpus.num_documents
    partitions = [partition_of(int(bucket), 16) for bucket in corpus.buckets()]
    assert partitions == sorted(partitions)
    for partition in range(16):
        ids = corpus.source_ids[np.array(partitions) == partition]
        assert len(ids)
        assert np.all(ids[1:] > ids[:-1])
    last = corpus.tokens(corpus.num_documents - 1)
    assert len(last) == corpus.lengths[-1]
    assert last.max() < 300


def test_four_models_train_on_the_same_documents_and_ours_equals_dense_and_mask(tmp_path, capsys):
    result = measure(
        *(capsys, "train", "--preset=nulls_tiny", "--tokens=1024", "--rounds=2"),
        *("--micro-batch-rows=4", f"--work={tmp_path}"),
    )
    assert list(tmp_path.iterdir()) == []
    assert result["loss_difference"] < 1e-6
    assert 8 <= result["documents"] < 64
    assert 0 < result["mfu"] < 1
    contestants = result["contestants"]
    assert set(contestants) == {"nulls-dist", *result["speedup"]}
    for row in contestants.values():
        assert row["tokens_per_s"] == pytest.approx(1024 / row["step_s"])
        assert min(row["parts_s"].values()) > 0
        assert row["parts_s"]["forward"] + row["parts_s"]["backward"] < row["step_s"]
    assert result["communication_s"] > 0


def test_training_tokens_that_are_not_whole_rows_are_refused(tmp_path, capsys):
    words = ["train", "--preset=nulls_tiny", "--tokens=1000", f"--work={tmp_path}"]
    assert run_command(bench.main, words) == ConfigError.exit_code
    assert "--tokens (1000) must be a multiple of the nulls_tiny row of 128" in (
        capsys.readouterr().err
    )


def test_the_loader_is_measured_with_and_without_the_plan(tmp_path, capsys):
    result = measure(capsys, "loader", "--megabytes=1", f"--work={tmp_path}")
    assert list(tmp_path.iterdir()) == []
    assert result["tokens"] == pytest.approx(500_000, rel=0.25)
    rates = {name: row["tokens_per_cpu_s"] for name, row in result["rates"].items()}
    assert rates["rows and tokens"] > rates["with the plan"] > 0


def test_the_head_is_measured_against_two_others_with_equal_gradients(capsys):
    result = measure(capsys, "head", "--preset=nulls_125m", "--tokens=32", "--rounds=1")
    assert len(result["variants"]) == 3
    assert result["variants"]["chunks (production)"]["gradient_difference"] < 1e-5
    for row in result["variants"].values():
        assert row["gradient_difference"] < 1e-4
        assert row["milliseconds"] > 0


def test_a_head_without_a_vocabulary_of_its_own_is_refused(capsys):
    assert run_command(bench.main, ["head", "--preset=nulls_tiny"]) == ConfigError.exit_code
    assert "its vocabulary is the corpus's" in capsys.readouterr().err
