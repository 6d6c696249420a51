"""Whenever a deletion dies: the input as it was, the output whole or absent, a readable ledger."""

import filecmp
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from nulls_dist.cli import run_command
from nulls_dist.unlearn.ledger import read_ledger
from tests.checkpoint_factory import build_checkpoint
from tools import strip_sources, verify_checkpoint, verify_deletion

ROOT = Path(__file__).parents[3]
CHANGES = {"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}
"""Audited operations that change a directory or file, beside opening one to write."""


class Deletion:
    """The same deletion again and again, each time into a place of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.checkpoint = build_checkpoint(folder / "checkpoint")
        self.sources = folder / "sources.txt"
        self.sources.write_text("Title 03\nTitle 07\n")
        self.before = {path: path.read_bytes() for path in self._files()}
        assert run(strip_sources, *self.arguments(folder / "undisturbed")) == 0
        self.expected = folder / "undisturbed/out"

    def _files(self):
        return [path for path in self.checkpoint.rglob("*") if path.is_file()]

    def arguments(self, place):
        records = place / "deletions"
        options = ["--out", place / "out", "--records", records, "--max-collateral", "1"]
        return list(map(str, [self.checkpoint, self.sources, *options]))

    def check(self, place):
        """Check what a dead process left, and that another one finishes its work.

        Returns:
            Whether there was an entry in the ledger, and whether there was an output.
        """
        assert {path: path.read_bytes() for path in self._files()} == self.before
        out, ledger = place / "out", place / "deletions/ledger.jsonl"
        entries = read_ledger(ledger) if ledger.exists() else []
        assert len(entries) <= 1
        left = bool(entries), out.exists()
        if out.exists():
            assert run(verify_checkpoint, out) == 0
            assert len(entries) == 1, "no output appears before its entry"
        else:
            assert run(strip_sources, *self.arguments(place)) == 0
            assert len(read_ledger(ledger)) == len(entries) + 1
        self.check_is_whole(place)
        return left

    def check_is_whole(self, place):
        """Check that the output is the undisturbed one, to the byte, and fits all its reports."""
        names = sorted(path.name for path in place.iterdir())
        assert [name for name in names if name != ".out.lock"] == ["deletions", "out"]
        compared = filecmp.dircmp(self.expected, place / "out")
        assert compared.left_only == compared.right_only == []
        for path in self.expected.rglob("*"):
            if path.is_file():
                twin = place / "out" / path.relative_to(self.expected)
                assert filecmp.cmp(path, twin, shallow=False)
        for number in range(len(read_ledger(place / "deletions/ledger.jsonl"))):
            report = place / f"deletions/{number:04d}/report.json"
            options = ["--ledger", place / "deletions/ledger.jsonl"]
            assert run(verify_deletion, report, place / "out", *options) == 0


@pytest.fixture(scope="module")
def deletion(tmp_path_factory):
    return Deletion(tmp_path_factory.mktemp("deletion"))


def run(tool, *arguments):
    return run_command(tool.main, list(map(str, arguments)))


class Process:
    """A process that strips: a fork of this one, or the command from scratch."""

    def __init__(self, arguments, errors, *, last=None, is_command=False):
        """Start it; `last` is the change of a file or directory at which a fork kills itself."""
        self._code = None
        if is_command:
            script = [sys.executable, str(ROOT / "tools/strip_sources.py"), *arguments]
            streams = [
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0o600),
                (os.POSIX_SPAWN_OPEN, 2, str(errors), os.O_WRONLY | os.O_CREAT, 0o600),
            ]
            self.pid = os.posix_spawn(sys.executable, script, os.environ, file_actions=streams)
            return
        self.pid = os.fork()
        if not self.pid:
            code = 99
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                with errors.open("w") as sys.stderr:
                    watch = Watch(last)
                    sys.addaudithook(watch)
                    code = run_command(strip_sources.main, arguments)
                    sys.stderr.write(f"{watch.count}\n")
            finally:
                os._exit(code)

    def poll(self, flags=os.WNOHANG):
        """Return the exit code, or None while it lives."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, flags)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self):
        return self.poll(0)

    def wait_until_it_writes(self, place):
        while self.poll() is None and not (place / ".out.partial").exists():
            time.sleep(0.0005)

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        assert self.wait() in (0, -signal.SIGKILL)


class Watch:
    """Counts changes of files and directories and dies at the last one it is to see."""

    def __init__(self, last):
        self.last = last
        self.count = 0

    def __call__(self, event, details):
        is_write = event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR)
        if event in CHANGES or is_write:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def count_changes(deletion, folder):
    """Return how many changes of the disk a deletion makes."""
    (folder / "counted").mkdir()
    assert Process(deletion.arguments(folder / "counted"), folder / "errors").wait() == 0
    return int((folder / "errors").read_text().splitlines()[-1])


def die_before(deletion, folder, moment):
    """Let a fork die just before a change of the disk; return what it left."""
    place = folder / str(moment)
    place.mkdir()
    process = Process(deletion.arguments(place), folder / "errors", last=moment)
    assert process.wait() == -signal.SIGKILL
    return deletion.check(place)


def test_death_before_some_changes_of_the_disk(deletion, tmp_path):
    count = count_changes(deletion, tmp_path)
    for moment in random.Random(1).sample(range(1, count - 1), 3):
        die_before(deletion, tmp_path, moment)
    # Last come the output's name, which its entry precedes, and the removal of the lock.
    assert die_before(deletion, tmp_path, count - 1) == (True, False)
    assert die_before(deletion, tmp_path, count) == (True, True)


@pytest.mark.slow
def test_death_before_every_change_of_the_disk(deletion, tmp_path):
    count = count_changes(deletion, tmp_path)
    left = [die_before(deletion, tmp_path, moment) for moment in range(1, count + 1)]
    assert left == sorted(left), "nothing, then an entry, then an entry and an output"
    assert {*left} == {(False, False), (True, False), (True, True)}


def check_sudden_deaths(deletion, folder, number, *, is_command):
    """Kill at moments of the whole life and, every other time, of the time in which it writes."""

    def start(name):
        (folder / name).mkdir()
        arguments = deletion.arguments(folder / name)
        return Process(arguments, folder / "errors", is_command=is_command), folder / name

    begin = time.monotonic()
    process, place = start("timed")
    process.wait_until_it_writes(place)
    writes = time.monotonic()
    assert process.wait() == 0
    end = time.monotonic()
    draws = random.Random(2)
    for moment in range(number):
        process, place = start(str(moment))
        if moment % 2:
            time.sleep(draws.uniform(0, end - begin))
        else:
            process.wait_until_it_writes(place)
            time.sleep(draws.uniform(0, end - writes))
        process.kill()
        deletion.check(place)


def test_sudden_death_at_5_moments(deletion, tmp_path):
    check_sudden_deaths(deletion, tmp_path, 5, is_command=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sudden_death_of_the_command_at_50_moments(deletion, tmp_path):
    check_sudden_deaths(deletion, tmp_path, 50, is_command=True)


def check_race(deletion, place, *, is_command):
    """Start two at once; return the exit code of the one that lost."""
    place.mkdir()
    errors = [place.with_name(f"{place.name}-{number}") for number in range(2)]
    arguments = deletion.arguments(place)
    processes = [Process(arguments, file, is_command=is_command) for file in errors]
    codes = [process.wait() for process in processes]
    # The loser meets the lock or, if it came late, the finished output.
    assert sorted(codes) in ([0, 7], [0, 3])
    told = errors[codes.index(max(codes))].read_text().splitlines()
    assert any(line.startswith("error: ") and f"{place / 'out'}" in line for line in told)
    assert len(read_ledger(place / "deletions/ledger.jsonl")) == 1, "the loser records nothing"
    deletion.check_is_whole(place)
    return max(codes)


def test_of_two_processes_one_writes_and_the_other_is_refused(deletion, tmp_path):
    for number in range(3):
        check_race(deletion, tmp_path / str(number), is_command=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_two_commands_one_writes_and_the_other_is_refused(deletion, tmp_path):
    codes = {check_race(deletion, tmp_path / str(n), is_command=True) for n in range(10)}
    assert 7 in codes
