"""A tiny benchmark from the first corpus to its results, which its tables give again."""

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import pytest

from nulls_dist.benchmark.unlearning import (
    attack,
    curves,
    evaluation,
    rival_asking,
    rival_models,
    rivals,
    tables,
)
from nulls_dist.benchmark.unlearning.deletion_curve import counts_of, deletion_order
from nulls_dist.benchmark.unlearning.efforts import effort_of
from nulls_dist.benchmark.unlearning.figures import Evidence
from nulls_dist.benchmark.unlearning.lab import open_lab
from nulls_dist.benchmark.unlearning.results import TARGETS, compute
from nulls_dist.benchmark.unlearning.rival_efforts import rival_effort_of
from nulls_dist.benchmark.unlearning.rival_rows import ROWS, Role
from nulls_dist.benchmark.unlearning.sweep import sweep
from nulls_dist.benchmark.unlearning.world import read_groups
from nulls_dist.errors import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIZE = """
from pathlib import Path
from nulls_dist.benchmark.unlearning.run import run_size
from nulls_dist.benchmark.unlearning.sizes import Size

if __name__ == "__main__":
    size = Size(
        name="tiny", deleted=2, unseen_asked=1, renderings=2,
        vocabulary=500, preset="nulls_tiny", settings={"train.steps": 8, "train.eval_every": 0},
        max_collateral=0.5, **WORLD,
    )
    run_size(size, num_seeds=1, out=Path("bench"), jobs=2)
"""
ARTICLES = {"articles": 30, "unseen": 6, "kept_asked": 3}
COARSE = {
    "articles": 8,
    "unseen": 3,
    "kept_asked": 2,
    "has_dense": False,
    "articles_per_source": 3,
    "book_articles": 6,
}


def run_tiny(folder, world=ARTICLES):
    (folder / "tiny.py").write_text(SIZE.replace("WORLD", repr(world)))
    done = subprocess.run(
        [sys.executable, "tiny.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done, json.loads((folder / "bench/results.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return folder, *run_tiny(folder)


def test_every_model_is_asked_in_every_state_about_every_group(tiny):
    folder, done, results = tiny
    answers = tables.read_tables(folder / "bench", tables.ANSWERS)
    found = defaultdict(set)
    for arm, checkpoint, state in zip(
        *(answers[name].to_pylist() for name in ("arm", "checkpoint", "state")), strict=True
    ):
        found[arm, checkpoint].add(state)
    everything = {"on", "off", "off rescaled", "nearest", "placebo"}
    assert found == {
        ("nulls", "trained"): everything,
        ("nulls", "suppressed"): {"on", "nearest"},
        ("nulls", "excised"): {"on", "off", "nearest"},
        ("nulls_retrained", "trained"): everything,
        ("dense_active", "trained"): {"off"},
        ("dense_active_retrained", "trained"): {"off"},
        ("dense_total", "trained"): {"off"},
    }
    assert set(answers["group"].to_pylist()) == {"deleted", "kept", "unseen"}
    assert {entry["figure"] for entry in results["targets"]} == {t.figure for t in TARGETS}
    assert all(entry["met"] is not None for entry in results["targets"])
    for target in TARGETS:
        assert target.figure in done.stdout
    assert results["configuration"]["dense_active"]["model"]["num_backbone"] == 64 + 8
    assert results["configuration"]["dense_total"]["model"]["num_backbone"] == 64 + 2 * 256


def test_states_that_are_the_same_computation_give_the_same_answers(tiny):
    """Excised sinks add nothing, and a suppression leaves the weights as they were."""
    folder, _, _ = tiny
    answers = tables.read_tables(folder / "bench", tables.ANSWERS)
    of = [
        tables.select(answers, arm="nulls", group="deleted", checkpoint=checkpoint, state=state)
        for checkpoint, state in (
            ("trained", "off"),
            ("excised", "on"),
            ("trained", "on"),
            ("suppressed", "on"),
        )
    ]
    off, excised, own, suppressed = (each["nll"].to_pylist() for each in of)
    assert excised == pytest.approx(off, abs=1e-5)
    assert suppressed == pytest.approx(own, abs=1e-5)
    assert own != pytest.approx(off, abs=1e-3)


def test_tables_alone_give_the_figures_again_and_nothing_is_repeated(tiny):
    folder, _, results = tiny
    again = compute(Evidence.read(folder / "bench"))
    assert json.loads(json.dumps(again)) == {name: results[name] for name in again}
    steps = folder / "bench/seed-0/steps"
    records = {path: path.stat().st_mtime_ns for path in steps.glob("*.json")}
    assert len(records) == 1 + 5 + 2 + 1 + 7, "world, trainings, deletions, sources, questions"
    run_tiny(folder)
    assert {path: path.stat().st_mtime_ns for path in steps.glob("*.json")} == records


def test_the_forecast_is_the_planners(tiny):
    folder, _, results = tiny
    deletion = json.loads((folder / "bench/seed-0/steps/delete-excised.json").read_text("utf-8"))
    forecast = results["figures"]["collateral forecast"]["value"]
    assert forecast == pytest.approx(deletion["collateral"]["mean"])


def test_a_book_is_deleted_as_a_whole_and_measured_by_itself(tmp_path):
    done, results = run_tiny(tmp_path, COARSE)
    assert results["power"]["verdict"] in done.stdout
    assert set(results["configuration"]) == {"nulls", "nulls_retrained"}
    figures = results["figures"]
    before, after, excised, retrained = (
        figures[f"extraction strength: the book, {state}"]
        for state in ("own sinks", "off", "excised", "retrained, off")
    )
    assert before["n"] == after["n"] == retrained["n"] == 6 * 2, "chapters"
    assert after["value"] == pytest.approx(excised["value"])
    facts = figures["answer accuracy: the book, unique facts, own sinks"]
    assert facts["n"] >= 6 * 6 * 5, "characters, facts of theirs alone, phrasings"
    assert "A book as one source" in (tmp_path / "bench/report.html").read_text("utf-8")


@pytest.fixture
def in_this_process(monkeypatch):
    """Start no process per model, and try less hard."""
    least = effort_of("tiny")
    budget = replace(least.budget, tries=1, searched_probes=1, max_members=4)
    least = replace(least, sources=2, dear_sources=1, documents=1, relearning_steps=2, ask_every=1)
    monkeypatch.setattr(attack, "effort_of", lambda name: replace(least, budget=budget))
    least_rival = replace(
        rival_effort_of("tiny"),
        learning_rates=(1e-3,),
        passes=1,
        evaluate_every=1,
        batch_size=256,
        relearning_steps=2,
        ask_every=1,
    )
    for module in (rival_asking, rival_models):
        monkeypatch.setattr(module, "rival_effort_of", lambda name: least_rival)
    for module in (attack, curves, evaluation, rivals):
        monkeypatch.setattr(module, "run_alone", lambda step, *arguments: step(*arguments))


def test_attacks_are_pooled_and_those_that_do_not_apply_are_listed(tiny, in_this_process, capsys):
    out = tiny[0] / "bench"
    names = "facts in their documents,prefill,steering by overlap,steering by title,relearning"
    attack.attack(out=out, names=names, num_seeds=None, jobs=1)
    printed = capsys.readouterr().out
    found = json.loads((out / "attacks.json").read_text("utf-8"))
    models = {"suppressed", "excised", "retrained", "dense", "dense retrained"}
    models |= {"dense, ascent", "dense, NPO"}
    for name in names.split(",")[:-1]:
        rows = [row for row in found["headlines"] if row["attack"] == name]
        assert {row["model"] for row in rows} == models
        for row in rows:
            assert (row["value"] is None) == bool(row["not_applicable"])
            if name.startswith("steering"):
                assert bool(row["not_applicable"]) == row["model"].startswith("dense")
    assert "does not apply: the attack needs" in printed
    curves_of = {(row["access"], row["text"], row["model"]): row for row in found["relearning"]}
    backbone, own = (
        curves_of[access, "deleted", "excised"] for access in ("backbone", "own sinks")
    )
    assert own["steps"] == backbone["steps"] == [0, 1, 2]
    assert ("own sinks", "deleted", "down rows zero") in curves_of
    assert len(found["targets"]) == 2
    records = {path: path.stat().st_mtime_ns for path in out.rglob("steps/*/*.json")}
    attack.attack(out=out, names=names, num_seeds=1, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("steps/*/*.json")} == records


def test_rivals_stand_beside_sinks_and_retraining(tiny, in_this_process, monkeypatch, capsys):
    folder, _, results = tiny
    out = folder / "bench"
    # So little was learned that there may be nothing to forget: let no rival stop early.
    monkeypatch.setattr(rival_models, "retrained_score", lambda lab, seed: -1.0)
    names = "simnpo,logit-difference"
    rivals.rivals(out=out, names=names, num_seeds=None, jobs=1)
    printed = capsys.readouterr().out
    found = json.loads((out / "rivals.json").read_text("utf-8"))
    rows = {row["name"]: row for row in found["rows"]}
    chosen = names.split(",")
    assert [row.name for row in ROWS if row.role is not Role.RIVAL or row.key in chosen] == [*rows]
    assert all(name in printed for name in rows)
    assert {row["method"] for row in rows.values()} == {None, *chosen}
    for name, figure in (
        ("dense, before", "answer accuracy: deleted sources, unique facts, dense"),
        ("NULLs, off", "answer accuracy: deleted sources, unique facts, off"),
    ):
        assert rows[name]["columns"]["unique"]["value"] == results["figures"][figure]["value"]
    n = {row["columns"]["unique"]["n"] for row in rows.values()}
    assert len(n) == 1, "all models were asked the same"
    columns = {name: len(row["columns"]) for name, row in rows.items()}
    assert columns == dict.fromkeys(rows, 8) | {"NULLs, excised": 7}, "wiped sinks: no membership"
    (sim, against) = (rows[name] for name in ("SimNPO", "logit difference"))
    assert sim["cost"]["backward_tokens"] > 0
    assert sim["columns"]["loss"]["value"] != rows["dense, before"]["columns"]["loss"]["value"]
    assert against["cost"]["extra_parameters"] > 0
    assert "Post-hoc unlearning beside sinks" in (out / "report.html").read_text("utf-8")
    records = {path: path.stat().st_mtime_ns for path in out.rglob("steps/rivals/*.json")}
    rivals.rivals(out=out, names=names, num_seeds=1, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("steps/rivals/*.json")} == records


def test_a_deletion_in_memory_is_the_one_that_the_command_makes(tiny, in_this_process, capsys):
    folder, _, results = tiny
    lab = open_lab(folder / "bench")
    curves.curves(out=lab.root, num_seeds=None, jobs=1)
    assert "shared facts" in capsys.readouterr().out
    found = json.loads((lab.root / "curves.json").read_text("utf-8"))
    entries = {entry["num_deleted"]: entry for entry in found["deleted_sources"]}
    assert list(entries) == counts_of(lab.size) == [1, 2, 5, 10, 15]
    for name in ("collateral found", "collateral forecast", "isolation: excised"):
        value = results["figures"][name]["value"]
        assert entries[2]["figures"][name]["value"] == pytest.approx(value)
    excised, in_memory = (
        tables.select(
            tables.read_tables(root, tables.ANSWERS),
            checkpoint="excised",
            state="on",
            kind="unique",
        )
        for root in (lab.root, lab.root / "curves/deleted-2")
    )
    for group in ("deleted", "kept"):
        of_both = [tables.select(each, arm="nulls", group=group) for each in (excised, in_memory)]
        asked, again = (each["nll"].to_pylist() for each in of_both)
        assert asked == pytest.approx(again, abs=1e-6)
    wiped = [entry["pool_wiped"] for entry in entries.values()]
    assert wiped == sorted(set(wiped))
    off = defaultdict(set)
    for entry in found["shared_facts"]:
        if entry["state"] == "off" and entry["num_facts"] == 8:
            off[entry["multiplicity"]].add(entry["figure"]["value"])
    assert all(len(values) == 1 for values in off.values()), "excision changes sinks alone"


def test_sources_are_deleted_in_one_order_that_spares_those_that_are_asked(tiny):
    lab = open_lab(tiny[0] / "bench")
    order, groups = deletion_order(lab, 0), read_groups(lab, 0)
    assert tuple(order[: lab.size.deleted]) == groups.deleted
    assert len(set(order)) == len(order) == lab.size.articles - lab.size.kept_asked
    assert not set(order) & {*groups.kept, *groups.unseen}


def test_a_sweep_trains_on_the_same_world(tiny, in_this_process, capsys):
    out = tiny[0] / "bench"
    sweep(out=out, sweeps=["model.num_active=16"], num_seeds=1, is_retrained=False, jobs=1)
    base, changed = json.loads((out / "sweeps.json").read_text("utf-8"))["models"]
    assert (base["setting"], changed["setting"]) == (None, "model.num_active")
    assert base["configuration"]["model"]["num_active"] == 8
    assert changed["configuration"]["model"]["num_active"] == 16
    assert changed["load"] == 2 * base["load"]
    ((before,), (after,)) = (model["measured"] for model in (base, changed))
    assert before["seeds"] == after["seeds"] == [0]
    assert before["figures"]["isolation off"] is not None
    assert after["figures"]["isolation off"] is None  # nothing was trained to compare with
    assert after["figures"]["forecast"]["value"] > before["figures"]["forecast"]["value"]
    losses = [each["figures"]["loss own"] for each in (before, after)]
    assert losses[0]["n"] == losses[1]["n"]
    assert losses[0]["value"] != losses[1]["value"]
    assert "model.num_active=16" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="num_actve"):
        sweep(out=out, sweeps=["model.num_actve=16"], num_seeds=1, is_retrained=False, jobs=1)
