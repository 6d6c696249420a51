"""tools/plan_sinks.py: what it says, and what it refuses."""

import json

import numpy as np
import pytest

from nulls_dist.cli import run_command
from nulls_dist.config.presets import load_preset
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import ConfigError
from nulls_dist.routing.buckets import balance_buckets
from nulls_dist.routing.router import Router
from nulls_dist.train.run import router_spec
from nulls_dist.unlearn.sink_plan import plan_sinks
from tests.launch import build_small_corpus
from tools.plan_sinks import main

USAGE, REFUSED = 2, 6
SMALL = ["--preset=nulls_tiny", "--set=model.vocab_size=500"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_small_corpus(tmp_path_factory.mktemp("plan") / "corpus")


def said(capsys, *arguments):
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_pool_for_a_number_of_sources(capsys):
    found = said(capsys, "--preset=nulls_1b_x8", "--world-size=8", "--sources=6400000")
    sinks = found["sinks"]
    assert sinks["load"]["sources_per_expert"] == 800_000
    assert sinks["load"]["owners_per_sink"] == pytest.approx(10_000)
    assert sinks["largest_deletion"] == {"max_collateral": 0.05, "mean": 32, "in_one_expert": 4}
    assert [row["deletions"] for row in sinks["collateral"]] == [1, 10, 100]
    assert sinks["collateral"][1]["in_one_expert"] == pytest.approx(0.1182, abs=1e-4)
    assert sinks["experts"] is None
    assert found["run"]["topology"]["ep"] == 8


def test_a_corpus_is_counted_as_a_run_would_deal_it(corpus, capsys):
    found = said(capsys, "--preset=nulls_tiny", f"--corpus={corpus}", "--deletions", "2", "5")
    opened = Corpus(corpus)
    model = load_preset("nulls_tiny").model
    table = balance_buckets(opened.tokens_per_bucket(), model.num_experts)
    router = Router(router_spec(model, opened.manifest.router_seed), table)
    sources, tokens = [set(), set()], [0, 0]
    experts = router.experts_of(opened.source_ids)
    for source, expert, length in zip(opened.source_ids, experts, opened.lengths, strict=True):
        sources[expert].add(int(source))
        tokens[expert] += int(length)
    counted = found["sinks"]["experts"]
    assert counted["sources"] == [len(ids) for ids in sources]
    assert counted["tokens"] == tokens
    assert counted["imbalance"] == pytest.approx(max(tokens) / np.mean(tokens) - 1)
    assert found["sinks"]["num_sources"] == 24
    assert found["sinks"]["load"]["sources_per_expert"] == max(map(len, sources))
    assert [row["deletions"] for row in found["sinks"]["collateral"]] == [2, 5]
    documents = opened.manifest.num_tokens / opened.manifest.num_documents
    assert found["run"]["data"]["segments_per_microbatch"] == round(2 * (1 + 128 / documents))
    assert found["run"]["config"]["model"]["vocab_size"] == opened.manifest.tokenizer.vocab_size


def test_the_table_for_a_person(corpus, capsys):
    main(["--preset=nulls_tiny", f"--corpus={corpus}"])
    text = capsys.readouterr().out
    for line in (
        "sources           24 on 2 experts",
        "sinks per source  8 of 256 in every layer (3.12%)",
        "overlap           0.25 sinks",
        "delete 10 ",
        "within 5.0%       3 deletions at random; 1 in one expert",
        "peak per rank",
    ):
        assert line in text
    assert "delete 100 " not in text  # there are 24
    assert "expected speed" not in text  # no GPU was named


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--preset=nulls_tiny", "--sources=9"], USAGE, "model.vocab_size (0) is the corpus's"),
        ([*SMALL, "--sources=1"], USAGE, "--sources (1) must be at least model.num_experts (2)"),
        ([*SMALL, "--sources=9", "--deletions=9"], USAGE, "--deletions (9) must be below"),
        ([*SMALL, "--sources=9", "--max-collateral=0"], USAGE, "--max-collateral (0.0) must be"),
        ([*SMALL, "--sources=9", "--max-collateral=1"], USAGE, "--max-collateral (1.0) must be"),
        ([*SMALL, "--sources=9", "--max-collateral=nan"], USAGE, "--max-collateral (nan) must be"),
        (
            [*SMALL, "--sources=9", "--world-size=3"],
            USAGE,
            "must be a multiple of 6: 2 experts",
        ),
        (
            [*SMALL, "--sources=9", "--set=model.num_active=24"],
            USAGE,
            "model.num_active (24) must divide model.num_sinks (256)",
        ),
        (
            ["--preset=nulls_1b_paper", "--sources=9", "--set=train.micro_batch_rows=1"],
            USAGE,
            "model.router (reference_int32) is for loading released weights; plan with stratified",
        ),
        (
            [
                *(*SMALL, "--sources=9", "--set=model.num_sinks=0", "--set=model.num_active=0"),
                "--set=model.sink_dropout=0",
            ],
            USAGE,
            "model.num_sinks (0) must be above 0 to plan sinks",
        ),
        (
            [*SMALL, "--sources=9", "--max-collateral=0.01"],
            REFUSED,
            "model.num_sinks (256): one deletion would take 1.56%",
        ),
        (
            ["--preset=nulls_7b", "--sources=99", "--gpu=h100"],
            REFUSED,
            "--gpu: a rank needs",
        ),
    ],
)
def test_impossible_settings_are_refused_by_field_value_rule_and_remedy(
    arguments, code, message, capsys
):
    assert run_command(main, arguments) == code
    assert message in capsys.readouterr().err


def test_a_router_without_strata_has_no_plan():
    with pytest.raises(ConfigError, match="plan with stratified"):
        plan_sinks(
            load_preset("nulls_1b_paper").model, sources=9, deletions=None, max_collateral=0.05
        )
