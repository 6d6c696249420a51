"""What a run trained on, over stops and changes of topology: logged, derived and compared."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.exposure_log import SCHEMA, exposure_log, read_exposure_log
from nulls_dist.data.format import read_manifest
from nulls_dist.errors import NullsError
from nulls_dist.parallel.accelerator import select_accelerator
from nulls_dist.pretrain import main as pretrain
from nulls_dist.unlearn.plan import open_sources
from tests.corpus_contents import edit_manifest
from tests.exposure_proof import Span, check, check_epochs, read_ledger
from tests.launch import pretrain_arguments, start, torchrun_environment
from tools import check_exposure, strip_sources, trace_source

pytestmark = pytest.mark.distributed

BAD_INPUT, UNKNOWN, INTEGRITY = 3, 4, 5


@pytest.fixture(scope="module")
def logged(settings: dict[str, object]) -> dict[str, object]:
    more = {"train.eval_every": 0, "train.save_every": 2, "train.async_save": "true"}
    return settings | more | {"report.exposure": "true"}


CHAIN: list[Span] = [(1, 0, 3), (2, 3, 6), (3, 6, 8), (4, 8, 12)]


@pytest.fixture(scope="module")
def chain(
    corpus: Path, logged: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run directory of 1, 2, 1 and 1 processes; the third life fails at step 10."""
    run_dir = tmp_path_factory.mktemp("chain") / "run"
    select_accelerator(0)  # before DeepSpeed is imported, which looks for one itself
    from nulls_dist.train import loop

    def arguments(steps: int) -> list[str]:
        return pretrain_arguments(corpus, run_dir, logged | {"train.steps": steps})

    def until_step_10(run: Any, engine: Any, *parts: Any, **options: Any) -> Any:
        if engine.global_steps == 9:
            raise NullsError("out of luck")
        return train_step(run, engine, *parts, **options)

    train_step = loop.train_step
    pretrain(arguments(3))
    start(arguments(6), num_processes=2, launcher=torchrun_environment).wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_step", until_step_10)
        with pytest.raises(NullsError, match="out of luck"):
            pretrain(arguments(12))
    pretrain(arguments(12))
    return run_dir


def test_every_epoch_shows_each_token_of_each_source_once_over_all_lives(
    chain: Path, corpus: Path
) -> None:
    assert check_epochs(chain, Corpus(corpus), CHAIN) >= 4


def test_the_ledger_says_who_trained_what_and_how_it_ended(chain: Path, corpus: Path) -> None:
    records = read_ledger(chain)
    starts = [record for record in records if record["record"] == "start"]
    ends = [record for record in records if record["record"] == "end"]
    assert [(record["life"], record["first_step"]) for record in starts] == [
        *((1, 0), (2, 3), (3, 6), (4, 8)),
    ]
    assert [(record["life"], record["last_step"], record["outcome"]) for record in ends] == [
        *((1, 3, "done"), (2, 6, "done"), (3, 9, "failed"), (4, 12, "done")),
    ]
    assert [record["world_size"] for record in starts] == [1, 2, 1, 1]
    assert [record["topology"]["ep"] for record in starts] == [1, 2, 1, 1]
    assert {(record["seed"], record["rows_per_step"]) for record in starts} == {(0, 8)}
    assert len({record["corpus_sha256"] for record in starts}) == 1
    assert {record["corpus"] for record in starts} == {Corpus(corpus).manifest.corpus}


def test_what_was_logged_is_what_the_corpus_implies(
    chain: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = check(chain, corpus, capsys)
    rows = read_exposure_log(exposure_log(chain, 3, 0)).to_pylist()
    lost = [row for row in rows if row["step"] > 8]
    assert {row["step"] for row in lost} == {9}
    assert summary == {
        "num_lives": 4,
        "first_step": 0,
        "last_step": 12,
        "num_segments": summary["num_segments"],
        "num_tokens": 12 * 8 * 128,
        "num_lost_segments": len(lost),
    }
    logs = (chain / "log").glob("exposure-*.arrow")
    num_logged = sum(read_exposure_log(path).num_rows for path in logs)
    assert num_logged == summary["num_segments"] + len(lost)


def test_the_check_ends_at_the_newest_checkpoint(
    chain: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the last life had been killed after step 11 or 12."""
    run_dir = tmp_path / "run"
    shutil.copytree(chain, run_dir)
    shutil.rmtree(step_directory(run_dir, 12))
    *records, end = (run_dir / "lives.jsonl").read_text().splitlines()
    assert json.loads(end)["record"] == "end"
    (run_dir / "lives.jsonl").write_text("".join(f"{record}\n" for record in records))
    assert check(run_dir, corpus, capsys)["last_step"] == 10


Rows = list[dict[str, int]]


def longer(rows: Rows) -> Rows:
    rows[7]["length"] += 1
    return rows


def elsewhere(rows: Rows) -> Rows:
    rows[7]["start"] += 1
    return rows


def at_another_step(rows: Rows) -> Rows:
    rows[-1]["step"] -= 1
    return rows


def before_the_life(rows: Rows) -> Rows:
    rows[-1]["step"] = 1
    return rows


def of_another_source(rows: Rows) -> Rows:
    rows[7]["source_id"] = next(
        row["source_id"] for row in rows if row["source_id"] != rows[7]["source_id"]
    )
    return rows


def without_one(rows: Rows) -> Rows:
    return rows[:7] + rows[8:]


def with_one_twice(rows: Rows) -> Rows:
    return rows[:8] + rows[7:]


def without_the_last_step(rows: Rows) -> Rows:
    return [row for row in rows if row["step"] < rows[-1]["step"]]


def after_the_end(rows: Rows) -> Rows:
    return [*rows, rows[-1] | {"step": 7}]


DUE, LOGGED = "was due, but no rank logged it", "was logged by rank 1, but was not due"


@pytest.mark.parametrize(
    ("tamper", "step", "what"),
    [
        (longer, 4, DUE),
        (elsewhere, 4, DUE),
        (at_another_step, 5, LOGGED),
        (before_the_life, 1, LOGGED),
        (of_another_source, 4, ""),  # which comes first depends on the ids
        (without_one, 4, DUE),
        (with_one_twice, 4, LOGGED),
        (without_the_last_step, 6, DUE),
        (after_the_end, 7, "was logged by rank 1, but the life ended at step 6"),
    ],
)
def test_a_tampered_log_is_detected_and_the_first_difference_named(
    tamper: Callable[[Rows], Rows],
    step: int,
    what: str,
    chain: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(chain, run_dir)
    path = exposure_log(run_dir, 2, 1)
    rows = tamper(read_exposure_log(path).to_pylist())
    path.unlink()
    with path.open("wb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
        stream.write_table(pa.Table.from_pylist(rows, SCHEMA))
    assert run_command(check_exposure.main, [str(run_dir), str(corpus)]) == INTEGRITY
    said = capsys.readouterr().err
    assert f"error: life 2, step {step}: tokens " in said
    assert what in said


def test_the_log_of_a_rank_that_is_gone_is_missed(
    chain: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(chain, run_dir)
    exposure_log(run_dir, 2, 0).unlink()
    assert run_command(check_exposure.main, [str(run_dir), str(corpus)]) == INTEGRITY
    assert "life 2, step 4: " in (said := capsys.readouterr().err)
    assert DUE in said


def test_a_life_of_which_nothing_counts_may_have_trained_on_anything(
    chain: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed before its first checkpoint, then begun again with another seed."""
    run_dir = tmp_path / "run"
    shutil.copytree(chain, run_dir)
    ledger = run_dir / "lives.jsonl"
    void = json.loads(ledger.read_text().splitlines()[0]) | {"seed": 5}
    later = [record | {"life": record["life"] + 1} for record in read_ledger(chain)]
    ledger.write_text("".join(f"{json.dumps(record)}\n" for record in [void, *later]))
    for life in (4, 3, 2, 1):
        for path in sorted((run_dir / "log").glob(f"exposure-life{life:04d}-*.arrow")):
            path.rename(path.with_name(path.name.replace(f"life{life:04d}", f"life{life + 1:04d}")))
    assert check(run_dir, corpus, capsys)["num_lives"] == 5
    later[0]["seed"] = 5
    ledger.write_text("".join(f"{json.dumps(record)}\n" for record in [void, *later]))
    assert run_command(check_exposure.main, [str(run_dir), str(corpus)]) == INTEGRITY
    assert "seed of life 2 (5) is not that of the newest checkpoint (0)" in capsys.readouterr().err


def test_a_run_without_logs_says_so(
    one_process: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(check_exposure.main, [str(one_process), str(corpus)]) == BAD_INPUT
    assert "life 1 trained steps 1 to 8 with report.exposure=false" in capsys.readouterr().err
    assert run_command(check_exposure.main, [str(tmp_path), str(corpus)]) == BAD_INPUT
    assert "there is no lives.jsonl" in capsys.readouterr().err


def trace(arguments: list[str], capsys: pytest.CaptureFixture[str], expected: int = 0) -> Any:
    assert run_command(trace_source.main, [*arguments, "--json"]) == expected
    return json.loads(capsys.readouterr().out)


def test_a_trace_is_what_the_ranks_logged_of_the_source(
    chain: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = step_directory(chain, 12)
    sources = open_sources(Checkpoint(root))
    ids = sources.source_ids[:5].tolist()
    traces = trace([str(root), str(corpus), *(f"id:{number}" for number in ids)], capsys)
    documents = Corpus(corpus)
    for source_id, found in zip(ids, traces, strict=True):
        seen = [
            row
            for life, first, last in CHAIN
            for path in (chain / "log").glob(f"exposure-life{life:04d}-*.arrow")
            for row in read_exposure_log(path).to_pylist()
            if row["source_id"] == source_id and first < row["step"] <= last
        ]
        assert found["source_id"] == source_id
        assert found["steps"] == sorted({row["step"] for row in seen})
        assert found["num_exposures"] == len(seen) > 0
        assert found["num_tokens_seen"] == sum(row["length"] for row in seen)
        own = documents.source_ids == np.uint64(source_id)
        assert found["num_documents"] == int(own.sum())
        assert found["num_tokens"] == int(documents.lengths[own].sum())
        *complete, _ = found["epochs"]
        assert [epoch["epoch"] for epoch in found["epochs"]] == list(range(len(complete) + 1))
        assert {epoch["num_tokens"] for epoch in complete} == {found["num_tokens"]}
        totals = Counter[str]()
        for epoch in found["epochs"]:
            totals.update({name: epoch[name] for name in ("num_tokens", "num_exposures")})
        assert totals["num_tokens"] == found["num_tokens_seen"]
        assert totals["num_exposures"] == found["num_exposures"]


def test_documents_that_are_not_placed_are_derived_and_checked_alike(
    corpus: Path,
    logged: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_dir = tmp_path / "run"
    wanted = logged | {"parallel.dispatcher": "all_to_all", "train.steps": 8}
    pretrain(pretrain_arguments(corpus, run_dir, wanted))
    assert check(run_dir, corpus, capsys)["num_tokens"] == 8 * 8 * 128
    root = step_directory(run_dir, 8)
    seen = read_exposure_log(exposure_log(run_dir, 1, 0)).to_pylist()
    for source_id in open_sources(Checkpoint(root)).source_ids[:3].tolist():
        (found,) = trace([str(root), str(corpus), f"id:{source_id}"], capsys)
        own = [row for row in seen if row["source_id"] == source_id]
        assert found["steps"] == sorted({row["step"] for row in own})
        assert found["num_tokens_seen"] == sum(row["length"] for row in own)
        assert found["epochs"][0]["num_tokens"] == found["num_tokens"]  # of about 2 epochs


def test_an_unknown_source_ends_with_4_and_another_corpus_with_3(
    chain: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = str(step_directory(chain, 12))
    (unknown,) = trace([root, str(corpus), "nobody knows this"], capsys, expected=UNKNOWN)
    assert (unknown["outcome"], unknown["steps"]) == ("unknown", [])
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    edit_manifest(other, router_seed=read_manifest(other).router_seed + 1)
    assert run_command(trace_source.main, [root, str(other), "x"]) == BAD_INPUT
    assert "is not the build of the corpus" in capsys.readouterr().err


def test_a_deleted_source_can_still_be_traced(
    chain: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = step_directory(chain, 12)
    name = f"id:{int(open_sources(Checkpoint(root)).source_ids[0])}"
    request = tmp_path / "sources.txt"
    request.write_text(f"{name}\n")
    stripped = tmp_path / "stripped"
    options = [str(root), str(request), f"--out={stripped}", "--max-collateral=1"]
    assert run_command(strip_sources.main, options) == 0
    capsys.readouterr()
    before = trace([str(root), str(corpus), name], capsys)
    assert trace([str(stripped), str(corpus), name], capsys) == before


def test_the_table_of_a_trace_has_a_line_per_epoch(
    chain: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = step_directory(chain, 12)
    title = open_sources(Checkpoint(root)).table.column("title")[0].as_py()
    assert run_command(trace_source.main, [str(root), str(corpus), title]) == 0
    first, *epochs = capsys.readouterr().out.splitlines()
    assert f"name={title}  outcome=matched" in first
    assert "num_steps=" in first
    assert all(line.startswith(f"  epoch={number}  ") for number, line in enumerate(epochs))
    assert len(epochs) >= 3
