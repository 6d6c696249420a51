"""A build that is killed at any moment continues and ends with the same bytes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import data_prep.extract
import data_prep.jsonl
import data_prep.spill
from data_prep.build import main
from nulls_dist.cli import run_command
from tests.corpus_contents import digests

ROOT = Path(__file__).parents[3]
BEGUN = "begun.json"

# Many small parts, so that a kill finds the build at many different places.
PROGRAM = """
import sys
import data_prep.jsonl, data_prep.spill
data_prep.jsonl.PART_BYTES = 3000
data_prep.spill.MIN_GROUP_BYTES = 5000
from data_prep.build import main
from nulls_dist.cli import run_command
if __name__ == "__main__":
    sys.exit(run_command(main))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "rows.jsonl"
    draws = random.Random(1)
    words = ["the", "river", "of", "a", "town", "was", "built", "in", "stone", "by", "old"]
    lines = [
        {"id": number, "text": " ".join(draws.choices(words, k=30)), "author": number % 17}
        for number in range(400)
    ]
    for number in range(1, 400, 17):  # author 1 repeats what author 0 has just said
        lines[number]["text"] = lines[number - 1]["text"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def command(rows: Path, out: Path, *more: str) -> list[str]:
    source = ["--input", str(rows), "--format", "jsonl", "--source-key", "author", "--name", "n"]
    options = ["--tokenizer", "train:bpe:300", "--partitions", "8", "--workers", "1"]
    return [*source, "--out", str(out), *options, *more]


@pytest.fixture(scope="module")
def undisturbed(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    main(command(rows, out))
    return digests(out)


def start(program: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(program), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def count_steps(partial: Path) -> int:
    """Steps that an unfinished build did; -1 before it begins."""
    try:
        return sum(1 for _ in partial.glob("work/*/*[0-9].json")) if partial.exists() else -1
    except FileNotFoundError:  # just removed: all steps are done
        return 1000


def kill_and_finish(
    rows: Path, folder: Path, undisturbed: dict[str, str], workers: int, draws: random.Random
) -> bool:
    """Kill a build soon after it did a random number of its about 50 steps, then let it end.

    Returns whether the kill found it unfinished.
    """
    program = folder / "build.py"
    program.write_text(PROGRAM)
    out, partial = folder / "out", folder / ".out.partial"
    arguments = command(rows, out, "--workers", str(workers))
    process = start(program, arguments)
    num_steps = draws.randrange(45)
    deadline = time.monotonic() + 100
    while process.poll() is None and count_steps(partial) < num_steps:
        assert time.monotonic() < deadline
    time.sleep(draws.random() / 50)
    process.send_signal(signal.SIGKILL)
    process.wait()
    is_unfinished = not out.exists()
    if is_unfinished:
        assert partial.exists()
        assert start(program, arguments).wait(100) == 0
    assert digests(out) == undisturbed
    assert not partial.exists()
    return is_unfinished


def test_a_killed_build_ends_with_the_same_bytes(
    rows: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    kill_and_finish(rows, tmp_path, undisturbed, 1, random.Random(0))


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_builds_killed_at_fifty_moments_end_with_the_same_bytes(
    rows: Path, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    draws = random.Random(1)
    num_unfinished = 0
    for number in range(50):
        folder = tmp_path / str(number)
        folder.mkdir()
        num_unfinished += kill_and_finish(rows, folder, undisturbed, 1 + number % 2, draws)
    assert num_unfinished >= 25


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[Path]:
    """End the next build when it would do a step for the n-th time; return the steps it did."""
    done: list[Path] = []

    def do_once(marker: Path, work):
        if not marker.exists():
            if len(done) == number:
                raise Killed
            done.append(marker)
        return original(marker, work)

    names = ("extract", "signatures", "duplicates", "spill", "shards", "pipeline")
    for module in (sys.modules[f"data_prep.{name}"] for name in names):
        monkeypatch.setattr(module, "do_once", do_once)
    return done


original = data_prep.extract.do_once


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_prep.jsonl, "PART_BYTES", 10_000)
    monkeypatch.setattr(data_prep.spill, "MIN_GROUP_BYTES", 8_000)


def test_a_build_stopped_before_every_step_continues_and_does_no_step_twice(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None, undisturbed
) -> None:
    steps: list[Path] = []
    while not (tmp_path / "out").exists():
        done = stop_at(monkeypatch, 3)
        try:
            main(command(rows, tmp_path / "out"))
        except Killed:
            assert (tmp_path / ".out.partial" / BEGUN).exists()
        steps += done
    assert digests(tmp_path / "out") == undisturbed
    assert len(steps) == len(set(steps)) > 15


@pytest.mark.parametrize("policy", ["group", "drop"])
def test_a_stopped_build_that_settles_duplicates_ends_with_the_same_bytes(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_parts: None, policy: str
) -> None:
    main(command(rows, tmp_path / "undisturbed", "--duplicates", policy))
    while not (tmp_path / "out").exists():
        stop_at(monkeypatch, 5)
        with contextlib.suppress(Killed):
            main(command(rows, tmp_path / "out", "--duplicates", policy))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())["build"]["duplicates"]
    assert (found["pairs"], found["sources_gone"]) == (24, 1)


def test_a_build_killed_while_it_is_published_continues(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    for place in ("nulls_dist.durable._sync_tree", "nulls_dist.durable.publish_directory"):
        with monkeypatch.context() as patched:
            patched.setattr(place, kill)
            with pytest.raises(Killed):
                main(command(rows, tmp_path / "out"))
        assert not (tmp_path / "out").exists()
    main(command(rows, tmp_path / "out"))
    assert digests(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--tokenizer", "train:bpe:301"], "--tokenizer was 'train:bpe:300', now 'train:bpe:301'"),
        (["--partitions", "4"], "--partitions was 8, now 4"),
        (["--name", "other"], "--name was 'n', now 'other'"),
        (["--limit", "5"], "--limit was None, now 5"),
        (["--duplicates", "drop"], "--duplicates was 'report', now 'drop'"),
        (["--duplicate-threshold", "0.9"], "--duplicate-threshold was 0.8, now 0.9"),
        (["--source-key", "id"], "input was"),
    ],
)
def test_other_options_than_those_begun_with_are_refused_and_named(
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    named: str,
) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, 1)
        with pytest.raises(Killed):
            main(command(rows, tmp_path / "out"))
    before = digests(tmp_path)
    assert run_command(main, command(rows, tmp_path / "out", *change)) == 3
    assert named in capsys.readouterr().err
    assert digests(tmp_path) == before


def test_an_input_that_changed_meanwhile_is_refused(
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "rows.jsonl"
    copy.write_bytes(rows.read_bytes())
    with monkeypatch.context() as patched:
        stop_at(patched, 1)
        with pytest.raises(Killed):
            main(command(copy, tmp_path / "out"))
    copy.write_bytes(rows.read_bytes().replace(b"stone", b"glass"))
    assert run_command(main, command(copy, tmp_path / "out")) == 3
    assert "input was" in capsys.readouterr().err


def test_another_number_of_workers_continues(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        with pytest.raises(Killed):
            main(command(rows, tmp_path / "out"))
    main(command(rows, tmp_path / "out", "--workers", "2"))
    assert digests(tmp_path / "out") == undisturbed


def test_an_error_in_the_input_leaves_nothing_to_continue(rows: Path, tmp_path: Path) -> None:
    bad = tmp_path / "rows.jsonl"
    bad.write_bytes(rows.read_bytes() + b"{")
    assert run_command(main, command(bad, tmp_path / "out")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_workers_of_a_killed_build_end_too(rows: Path, tmp_path: Path) -> None:
    program = tmp_path / "build.py"
    program.write_text(PROGRAM)
    process = start(program, command(rows, tmp_path / "out", "--workers", "2"))
    deadline = time.monotonic() + 100
    while len(workers := children(process.pid)) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(process_id: int) -> list[int]:
    """Worker processes of a process: its descendants that multiprocessing spawned."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            words = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == process_id and b"spawn_main" in words:
            found.append(int(status.parent.name))
    return found


def is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
