"""The jobs of slurm/, as they are, on a real Slurm of two virtual nodes."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from nulls_dist.checkpoint.store import list_checkpoints, step_directory
from nulls_dist.train.inspection import inspect_run
from tests.checkpoint_contents import check_equal_contents, read_metrics
from tests.launch import build_small_corpus
from tests.slurm.cluster import ROOT, Cluster, Job

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]

PRETRAIN = "slurm/pretrain_1b.sh"
STEPS = 40
TWO_RANKS = (
    *("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1", "--mem=1G"),
    "--time=20",
)
ONE_NODE = ("--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=2")
NUMERIC = ("step", "train/", "eval/")  # not how fast a life was, nor what sinks got during one
ARGUMENTS = (f"--set=train.steps={STEPS}", "--set=train.save_every=10")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_corpus(tmp_path_factory.mktemp("corpus") / "corpus")


@pytest.fixture(scope="module")
def port() -> int:
    """Below the ports that the system gives away, and not that of a test run beside this one."""
    return 15000 + os.getpid() % 100 * 40


@pytest.fixture(scope="module")
def cluster(corpus: Path, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    site = folder / "site.env"
    site.write_text(
        f"export NULLS_PYTHON={sys.executable} NULLS_PRESET=nulls_tiny NULLS_DATA={corpus}\n"
        f"export NULLS_MIN_RUN_GB=0 NULLS_MIN_TMP_GB=0\n"
    )
    cluster = Cluster.start(folder / "cluster", nodes=2, port=port)
    cluster.environment["NULLS_SITE_ENV"] = str(site)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def uninterrupted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run that nothing happened to, looked at before it began, each rank in a container."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    container = folder / "container"
    container.write_text(f'#!/bin/bash\necho "$SLURM_PROCID" >> {folder}/contained\nexec "$@"\n')
    container.chmod(0o755)
    job = cluster.submit(
        *(*TWO_RANKS, PRETRAIN, *ARGUMENTS),
        name="uninterrupted",
        run_dir=folder / "run",
        NULLS_CONTAINER=str(container),
    )
    job.wait()
    return job


def submit(cluster: Cluster, run_dir: Path, *options: str, **settings: str) -> Job:
    """Submit a run of two ranks, with the name of its directory."""
    return cluster.submit(
        *(*TWO_RANKS, *options, PRETRAIN, *ARGUMENTS),
        name=run_dir.name,
        run_dir=run_dir,
        **{"NULLS_PREFLIGHT": "no", **settings},
    )


def hold(job: Job) -> None:
    """Stop the run in its first steps until rank 1 is told to go on."""
    job.wait_for_step(2)
    job.send(signal.SIGSTOP, rank=1)
    assert len(read_metrics(job.run_dir)) < STEPS, "it was too fast to be held"


def check_ended_like(job: Job, uninterrupted: Job) -> None:
    """Compare losses, gradients and weights to the last bit."""
    assert (job.run_dir / "outcome").read_text() == "done\n"
    runs = [
        [{key: line[key] for key in line if key.startswith(NUMERIC)} for line in metrics]
        for metrics in (read_metrics(job.run_dir), read_metrics(uninterrupted.run_dir))
    ]
    assert runs[0] == runs[1]
    check_equal_contents(
        *(step_directory(run, STEPS) for run in (job.run_dir, uninterrupted.run_dir))
    )


def read_outcomes(run_dir: Path) -> list[str]:
    """How the lives ended that lived to tell."""
    lines = [json.loads(line) for line in (run_dir / "lives.jsonl").read_text().splitlines()]
    return [line["outcome"] for line in lines if "outcome" in line]


def test_a_run_goes_to_its_end_and_leaves_logs_and_a_copy_of_its_code(uninterrupted: Job) -> None:
    run_dir = uninterrupted.run_dir
    assert uninterrupted.show("Restarts") == "0"
    assert len(read_metrics(run_dir)) == STEPS
    assert [path.name for path in list_checkpoints(run_dir)][-1] == f"step-{STEPS:08d}"
    log = run_dir / "log" / f"{uninterrupted.number}.0"
    assert f"step {STEPS}/{STEPS}" in (log / "rank-0.log").read_text()
    assert (log / "rank-1.log").exists()
    assert {path.name for path in (log / "met").iterdir()} == {"127.0.0.1.0", "127.0.0.2.0"}
    assert "--preset nulls_tiny" in (log / "command").read_text()
    code = run_dir / "code" / uninterrupted.number
    original = ROOT / "nulls_dist" / "pretrain.py"
    assert (code / "nulls_dist" / "pretrain.py").read_bytes() == original.read_bytes()
    recorded = json.loads((step_directory(run_dir, STEPS) / "run.json").read_text())
    assert recorded["git_commit"] == (code / "COMMIT").read_text().strip()
    ranks = (run_dir.parent / "contained").read_text().split()
    assert sorted(ranks) == ["0", "0", "1", "1"]  # adding up numbers, then training


def test_at_its_time_limit_a_run_saves_comes_back_and_ends_like_one_without(
    cluster: Cluster, uninterrupted: Job, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path / "limited", "--time=1", "--signal=B:USR1@10")
    hold(job)
    job.wait_for_log("asked to stop")
    cluster.run("scontrol", "update", f"JobId={job.number}", "TimeLimit=20")
    job.send(signal.SIGCONT, rank=1)
    job.wait()
    assert job.show("Restarts") == "1"
    assert read_outcomes(job.run_dir) == ["stopped", "done"]
    check_ended_like(job, uninterrupted)


@pytest.mark.slow
def test_a_preempted_run_saves_and_comes_back_after_the_other_job(
    cluster: Cluster, uninterrupted: Job, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path / "preempted")
    hold(job)
    other = cluster.submit("-phigh", "-N2", "--exclusive", "--wrap=true", name="other")
    other.wait()
    job.wait()
    assert other.show("EndTime") <= job.show("StartTime")
    assert read_outcomes(job.run_dir) == ["stopped", "done"]
    check_ended_like(job, uninterrupted)


@pytest.mark.slow
def test_a_run_whose_rank_was_killed_comes_back_from_its_newest_checkpoint(
    cluster: Cluster, uninterrupted: Job, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path / "killed")
    job.wait_for_step(12)
    job.send(signal.SIGKILL, rank=1)
    said = job.wait()
    assert "exit code 137, at step 10" in said
    assert job.show("Restarts") == "1"
    check_ended_like(job, uninterrupted)


@pytest.mark.slow
def test_a_run_that_hangs_tells_where_is_killed_and_comes_back(
    cluster: Cluster, uninterrupted: Job, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path / "hanging")
    hold(job)
    hour_ago = (job.run_dir / "heartbeat").stat().st_mtime - 3600
    os.utime(job.run_dir / "heartbeat", (hour_ago, hour_ago))
    said = job.wait()
    assert "the ranks write their stacks" in said
    stacks = (job.run_dir / "log" / f"{job.number}.0" / "rank-0.log").read_text()
    assert "Current thread" in stacks
    assert "train_step" in stacks
    assert job.show("Restarts") == "1"
    check_ended_like(job, uninterrupted)
    found = inspect_run(job.run_dir, stale_after_s=900)
    assert (found.status, found.faults.hangs, found.faults.killed_lives) == ("finished", 1, 1)


@pytest.mark.slow
def test_a_run_that_a_person_stops_saves_and_is_not_requeued(
    cluster: Cluster, tmp_path: Path
) -> None:
    job = submit(cluster, tmp_path / "halted")
    hold(job)
    (job.run_dir / "STOP").touch()
    job.send(signal.SIGCONT, rank=1)
    assert "submit again to continue" in job.wait("FAILED")
    assert job.show("ExitCode") == "75:0"
    assert job.show("Restarts") == "0"
    assert (job.run_dir / "outcome").read_text() == "halted\n"
    assert not (job.run_dir / "STOP").exists()


@pytest.mark.slow
def test_a_cancelled_run_saves_and_stays_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path / "cancelled")
    hold(job)
    cluster.run("scancel", job.number)  # lets it go on as well
    assert "cancelled, or requeued by Slurm" in job.wait("CANCELLED")
    assert job.show("Restarts") == "0"
    assert (job.run_dir / "outcome").read_text() == "stopped\n"


@pytest.mark.slow
def test_a_run_that_crashes_in_every_life_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path / "crashing", NULLS_CONTAINER="env NO_SUCH=yes false")
    said = job.wait("FAILED")
    assert "3 lives ended without a checkpoint after step 0" in said
    assert (job.run_dir / "outcome").read_text() == "failed\n"
    assert (job.run_dir / "log" / "lives.tsv").read_text() == f"{job.number}\t0\n" * 3


def test_a_run_that_another_life_cannot_help_is_not_repeated(
    cluster: Cluster, tmp_path: Path
) -> None:
    job = cluster.submit(
        *(*TWO_RANKS, PRETRAIN, "--set=train.no_such_field=1"),
        name="mistaken",
        run_dir=tmp_path / "mistaken",
        NULLS_PREFLIGHT="no",
    )
    assert "train.no_such_field" in job.wait("FAILED")
    assert job.show("ExitCode") == "2:0"
    assert job.show("Restarts") == "0"


@pytest.mark.slow
def test_a_run_avoids_an_unfit_node(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(
        *(cluster, tmp_path / "avoiding", *ONE_NODE),
        NULLS_PREFLIGHT="yes",
        NULLS_NODE_CHECK='[[ $SLURMD_NODENAME != *.1 ]] || { echo "a broken node"; exit 1; }',
    )
    assert "a broken node" in job.wait()
    assert job.show("ExcNodeList") == "127.0.0.1"
    assert job.show("NodeList") == "127.0.0.2"
    assert (job.run_dir / "outcome").read_text() == "done\n"


@pytest.mark.slow
def test_two_submissions_of_a_run_never_run_together(
    cluster: Cluster, uninterrupted: Job, tmp_path: Path
) -> None:
    first = submit(cluster, tmp_path / "twice", *ONE_NODE)
    second = submit(cluster, tmp_path / "twice", *ONE_NODE)
    hold(first)
    renamed = cluster.submit(*TWO_RANKS, *ONE_NODE, PRETRAIN, name="renamed", run_dir=first.run_dir)
    assert "a job of another name trains here" in renamed.wait("FAILED")
    assert second.show("JobState") == "PENDING"
    assert second.show("Reason") == "Dependency"
    first.send(signal.SIGCONT, rank=1)
    first.wait()
    assert "nothing to do" in second.wait()
    ended, started = first.show("EndTime"), second.show("StartTime")
    assert datetime.fromisoformat(ended) <= datetime.fromisoformat(started)
    check_ended_like(first, uninterrupted)


def test_the_header_asks_for_what_sixteen_nodes_of_eight_gpus_have(
    tmp_path: Path, port: int
) -> None:
    cluster = Cluster.start(tmp_path / "cluster", nodes=16, port=port + 20)
    try:
        said = cluster.run("sbatch", "--test-only", PRETRAIN)
        assert "using 384 processors on nodes 127.0.0.[1-4]" in said
        assert "using 1536 processors on nodes" in cluster.run(
            "sbatch", "--test-only", "--nodes=16", PRETRAIN
        )
        for script in ("slurm/prep_wikipedia.sh", "slurm/strip_and_release.sh"):
            assert "to start at" in cluster.run("sbatch", "--test-only", script)
    finally:
        cluster.stop()


@pytest.mark.slow
def test_preparation_pretraining_and_deletion_follow_each_other(
    cluster: Cluster, tmp_path: Path
) -> None:
    pages = "".join(
        f"<page><title>T{key}</title><ns>0</ns><id>{key}</id><revision><id>1</id>"
        f"<text>T{key} is a town.</text></revision></page>"
        for key in range(1, 200)
    )
    dump = tmp_path / "dump.xml"
    dump.write_text(f"<mediawiki><siteinfo><dbname>w</dbname></siteinfo>{pages}</mediawiki>")
    (tmp_path / "sources.txt").write_text("T7\n")
    prepared = cluster.submit(
        *("--ntasks-per-node=1", "slurm/prep_wikipedia.sh", "--workers=1"),
        name="prep",
        NULLS_DUMP=str(dump),
        NULLS_CORPUS=str(tmp_path / "corpus"),
        NULLS_TOKENIZER="train:bpe:300",
        NULLS_LAUNCHER="srun --mpi=none",
    )
    trained = cluster.submit(
        *(*TWO_RANKS, f"--dependency=singleton,afterok:{prepared.number}", PRETRAIN),
        *("--set=train.steps=4", f"--data={tmp_path / 'corpus'}"),
        name="chained",
        run_dir=tmp_path / "run",
        NULLS_PREFLIGHT="no",
    )
    released = cluster.submit(
        *("--mem=1G", f"--dependency=singleton,afterok:{trained.number}"),
        *("slurm/strip_and_release.sh", "--max-collateral=0.2"),
        name="release",
        NULLS_CHECKPOINT=str(trained.run_dir),
        NULLS_SOURCES=str(tmp_path / "sources.txt"),
        NULLS_OUT=str(tmp_path / "out"),
        NULLS_FORMS="backbone",
    )
    assert released.show("Reason") == "Dependency"
    for job in (prepared, trained, released):
        job.wait()
    assert (tmp_path / "out" / "backbone" / "model.safetensors").exists()
    manifest = json.loads((tmp_path / "out" / "stripped" / "manifest.json").read_text())
    assert len(manifest["tombstones"]) == 1
