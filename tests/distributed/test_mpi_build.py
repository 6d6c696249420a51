"""A corpus built by the ranks of a real MPI job: the same bytes as by one process."""

import bz2
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.benchmark.builds import find_mpirun
from data_prep.build import main
from tests.corpus_contents import digests

ROOT = Path(__file__).parents[2]
DUMP = "dump/enwiki-excerpt-multistream.xml.bz2"

pytest.importorskip("mpi4py", reason="needs mpi4py: the extra mpi", exc_type=ImportError)
MPIRUN = find_mpirun()

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(MPIRUN is None, reason="needs mpirun: the package openmpi"),
]

# Several builds in one job, for a start takes seconds; parts are small, so that both ranks work.
PROGRAM = """
import json, sys
import data_prep.jsonl, data_prep.spill
data_prep.jsonl.PART_BYTES = 2000
data_prep.spill.MIN_GROUP_BYTES = 4000
from data_prep.benchmark.builds import find_mpirun
from data_prep.build import main
from data_prep.crew import end_ranks
from nulls_dist.cli import run_command
for command in json.loads(sys.argv[1]):
    code = run_command(main, command)
    end_ranks(code)
"""


def start(folder: Path, commands: list[list[str]]) -> subprocess.Popen[str]:
    program = folder / "builds.py"
    program.write_text(PROGRAM)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    job = [str(MPIRUN), "--oversubscribe", "-n", "2", sys.executable, str(program)]
    return subprocess.Popen(
        [*job, json.dumps(commands)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, commands: list[list[str]]) -> tuple[int, str]:
    job = start(folder, commands)
    output, _ = job.communicate(timeout=100)
    return job.returncode, output


def write_rows(path: Path, num_rows: int = 300) -> Path:
    rows = [
        {"id": number, "by": number % 7, "text": f"Line {number % 280} of {number % 280} lines."}
        for number in range(num_rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_dump(path: Path) -> Path:
    """A dump of one stream, without an index."""
    pages = "".join(
        f"<page><title>T{key}</title><ns>0</ns><id>{key}</id><revision><id>1</id>"
        f"<text>'''T{key}''' is a [[town]]. {'It is old. ' * 5}</text></revision></page>"
        for key in range(1, 1200)
    )
    content = f"<mediawiki><siteinfo><dbname>w</dbname></siteinfo>{pages}</mediawiki>"
    path.write_bytes(bz2.compress(content.encode()))
    return path


def command(kind: str, given: Path, out: Path, *more: str) -> list[str]:
    options = ["--tokenizer", "train:bpe:300", "--partitions", "4", "--name", "c"]
    return ["--format", kind, "--input", str(given), "--out", str(out), *options, *more]


def test_two_ranks_give_the_bytes_of_one_process(tmp_path: Path) -> None:
    rows, dump = write_rows(tmp_path / "rows.jsonl"), write_dump(tmp_path / "dump.xml.bz2")
    (tmp_path / "sources.txt").write_text("T5\nT1100\n")
    inputs = {
        "shared": ("jsonl", rows, "--source-key", "by"),
        "limited": ("jsonl", rows, "--limit", "123"),
        "dropped": ("jsonl", rows, "--duplicates", "drop"),
        "stream": ("wikipedia", dump, "--exclude", str(tmp_path / "sources.txt")),
        "made": (
            "generated",
            Path("generated"),
            "--articles",
            "30",
            "--tokenizer",
            "train:bpe:400",
        ),
    }
    commands = {}
    for place in ("serial", "mpi"):
        (tmp_path / place).mkdir()
        commands[place] = [
            command(kind, given, tmp_path / place / name, *more)
            for name, (kind, given, *more) in inputs.items()
        ]
    for words in commands["serial"]:
        main([*words, "--workers", "1"])
    code, output = run(tmp_path, commands["mpi"])
    assert code == 0, output
    assert digests(tmp_path / "mpi") == digests(tmp_path / "serial")
    assert output.count("drop: 20 sources are gone") == 1
    assert output.count("of text per second") == len(inputs)  # only the leader speaks


def test_an_error_of_any_rank_ends_the_job_with_its_code(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    lines = rows.read_text().splitlines(keepends=True)
    place = sum(map(len, lines[:51]))
    assert 2000 < place < 4000  # in the second part, so of the second rank
    rows.write_text("".join([*lines[:51], "<html>\n", *lines[51:]]))
    out = tmp_path / "out"
    code, output = run(tmp_path, [command("jsonl", rows, out)])
    assert code == 3, output
    assert output.count("error:") == 1
    assert "rows.jsonl, line 52: not a JSON object" in output
    assert not out.exists()
    write_rows(rows)  # mended: the input is another one, and nothing of the old build is in its way
    main([*command("jsonl", rows, out), "--workers", "1"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jobs_killed_at_several_moments_continue_and_end_with_the_same_bytes(
    test_data: Path, tmp_path: Path
) -> None:
    size = ("--tokenizer", "train:bpe:2000")
    main([*command("wikipedia", test_data / DUMP, tmp_path / "serial", *size), "--workers", "1"])
    expected = digests(tmp_path / "serial")
    for num_steps in (1, 2, 5, 7, 9):
        folder = tmp_path / str(num_steps)
        folder.mkdir()
        words = command("wikipedia", test_data / DUMP, folder / "out", *size)
        kill_after(num_steps, folder, words)
        assert not (folder / "out").exists()
        code, output = run(folder, [words])
        assert code == 0, output
        assert "continuing" in output
        assert digests(folder / "out") == expected


def kill_after(num_steps: int, folder: Path, words: list[str]) -> None:
    """Kill all processes of a job soon after its ranks have done a number of steps."""
    work = folder / ".out.partial" / "work"
    job = start(folder, [words])
    deadline = time.monotonic() + 100
    while len(list(work.glob("*/*[0-9].json"))) < num_steps:
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for process_id in [*descendants(job.pid), job.pid]:
        os.kill(process_id, signal.SIGKILL)
    job.communicate()


def descendants(process_id: int) -> list[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [process_id]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]
