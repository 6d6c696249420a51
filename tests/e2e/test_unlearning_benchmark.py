"""A tiny benchmark from the first corpus to its results, which its tables give again."""

import json
import subprocess
import sys
from collections import defaultdict

import pytest

from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.figures import Evidence
from nulls_dist.benchmark.unlearning.results import TARGETS, compute

SIZE = """
from pathlib import Path
from nulls_dist.benchmark.unlearning.run import run_size
from nulls_dist.benchmark.unlearning.sizes import Size

if __name__ == "__main__":
    size = Size(
        name="tiny", articles=30, deleted=2, unseen=6, kept_asked=3, unseen_asked=1, renderings=2,
        vocabulary=500, preset="nulls_tiny", settings={"train.steps": 8, "train.eval_every": 0},
        max_collateral=0.5,
    )
    run_size(size, num_seeds=1, out=Path("bench"), jobs=2)
"""


def run_tiny(folder):
    (folder / "tiny.py").write_text(SIZE)
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


@pytest.mark.timeout(600)
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


@pytest.mark.timeout(600)
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


@pytest.mark.timeout(600)
def test_tables_alone_give_the_figures_again_and_nothing_is_repeated(tiny):
    folder, _, results = tiny
    again = compute(Evidence.read(folder / "bench"))
    assert json.loads(json.dumps(again)) == {name: results[name] for name in again}
    records = {path: path.stat().st_mtime_ns for path in folder.rglob("steps/*.json")}
    assert len(records) == 1 + 5 + 2 + 1 + 7, "world, trainings, deletions, sources, questions"
    run_tiny(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("steps/*.json")} == records


@pytest.mark.timeout(600)
def test_the_forecast_is_the_planners(tiny):
    folder, _, results = tiny
    deletion = json.loads((folder / "bench/seed-0/steps/delete-excised.json").read_text("utf-8"))
    forecast = results["figures"]["collateral forecast"]["value"]
    assert forecast == pytest.approx(deletion["collateral"]["mean"])
