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
        "sinks per source  8 of 256 per layer (3.12%)",
        "overlap           0.25 sinks",
        "delete 10 ",
        "within 5.0%       3 deletions at random; 1 in one expert",
        "peak per rank",
    ):
        assert line in text
    assert "delete 100 " not in text  # there are 24
    assert "expected speed" not in text  # no GPU was named


@pytest.fixture
def private_list(corpus, tmp_path):
    """Three sources of one expert and one of the other."""
    opened = Corpus(corpus)
    ids = np.unique(opened.source_ids)
    table = balance_buckets(opened.tokens_per_bucket(), 2)
    router = Router(
        router_spec(load_preset("nulls_tiny").model, opened.manifest.router_seed), table
    )
    experts = router.experts_of(ids)
    chosen = [*ids[experts == 0][:1], *ids[experts == 1][:3]]
    (tmp_path / "private.txt").write_text("".join(f"id:{number}\n" for number in chosen))
    return tmp_path / "private.txt"


def test_private_sources_are_planned_beside_the_others(corpus, private_list, capsys):
    option = f"--set=sinks.private_sources={private_list}"
    places = ["--preset=nulls_tiny", f"--corpus={corpus}", option]
    found = said(capsys, *places, "--deletions", "1")
    demand = {
        "num_sources": 4,
        "sinks_per_expert": 3 * 8,
        "shared_sinks_per_expert": 256 - 24,
        "unused_sinks": 2 * 24 - 4 * 8,
        "parameters": 2 * 24 * 3 * 64 * 2,  # experts, sinks, matrices, width, layers
    }
    assert found["sinks"]["private"] == found["run"]["private_sources"] == demand
    sinks = found["sinks"]
    sharing = sinks["experts"]["shared_sources"]
    assert sharing == [sinks["experts"]["sources"][0] - 1, sinks["experts"]["sources"][1] - 3]
    assert sinks["load"]["sources_per_expert"] == max(sharing)
    assert sinks["load"]["overlap"] == pytest.approx(8 * 8 / 232)
    assert sinks["collateral"][0]["in_one_expert"] == pytest.approx(8 / 232)
    main(places)
    text = capsys.readouterr().out
    line = (
        "private sources   4; their blocks take 24 of 256 sinks of every expert and layer (18,432 "
        "parameters, 16 sinks per layer left over); 232 stay shared"
    )
    assert text.count(line) == 2  # in the run, and among the sinks
    assert "sinks per source  8 of 232 per layer (3.45%)" in text


def test_private_sources_that_leave_too_little_are_refused(corpus, private_list, capsys):
    option = f"--set=sinks.private_sources={private_list}"
    small = ["--preset=nulls_tiny", option, "--max-collateral=0.02"]
    assert run_command(main, [*small, f"--corpus={corpus}", "--set=model.num_sinks=208"]) == REFUSED
    assert "model.num_sinks (208, 24 of them private): one deletion" in capsys.readouterr().err
    assert run_command(main, [*small, f"--corpus={corpus}", "--set=model.num_sinks=24"]) == USAGE
    assert "sink expert 1 has 3 private sources" in capsys.readouterr().err
    assert run_command(main, [*SMALL, option, "--sources=9"]) == USAGE
    assert "name the corpus, too" in capsys.readouterr().err


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
