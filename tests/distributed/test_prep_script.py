"""slurm/prep_wikipedia.sh around stand-ins for Slurm's own commands."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.build import main
from tests.corpus_contents import digests

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "prep_wikipedia.sh"

# Skips its own options and becomes the task.
SRUN = """#!/bin/bash
echo "$@" >> "$FOLDER/srun-called"
while [[ $1 == --* ]]; do shift; done
exec {task}
"""
SCONTROL = '#!/bin/bash\necho "$@" >> "$FOLDER/scontrol-called"\n'
SQUEUE = "#!/bin/bash\necho RUNNING\n"


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dump.xml"
    pages = "".join(
        f"<page><title>T{key}</title><ns>0</ns><id>{key}</id><revision><id>1</id>"
        f"<text>T{key} is a town.</text></revision></page>"
        for key in range(50)
    )
    path.write_text(f"<mediawiki><siteinfo><dbname>w</dbname></siteinfo>{pages}</mediawiki>")
    return path


def start(folder: Path, *more: str, task: str = '"$@"') -> subprocess.Popen[str]:
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    stand_ins = {"srun": SRUN.format(task=task), "scontrol": SCONTROL, "squeue": SQUEUE}
    for name, content in stand_ins.items():
        (commands / name).write_text(content)
        (commands / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "FOLDER": str(folder),
        "PYTHONPATH": str(ROOT),
        "NULLS_DUMP": str(folder / "dump.xml"),
        "NULLS_CORPUS": str(folder / "corpus"),
        "NULLS_TOKENIZER": "train:bpe:300",
        "NULLS_PYTHON": sys.executable,
        "SLURM_JOB_ID": "12",
        "SLURM_NTASKS": "1",
    }
    return subprocess.Popen(
        ["bash", str(SCRIPT), *more],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_job_builds_the_corpus_and_once_it_is_there_does_nothing(
    tmp_path: Path, dump: Path
) -> None:
    job = start(tmp_path, "--workers", "1", "--partitions", "4")
    output, _ = job.communicate(timeout=100)
    assert job.returncode == 0, output
    options = ["--tokenizer", "train:bpe:300", "--partitions", "4", "--workers", "1"]
    source = ["--input", str(dump), "--format", "wikipedia"]
    main([*source, "--out", str(tmp_path / "direct"), *options])
    assert digests(tmp_path / "corpus") == digests(tmp_path / "direct")
    called = (tmp_path / "srun-called").read_text()
    assert called.startswith("--mpi=pmix --kill-on-bad-exit=1 ")
    output, _ = start(tmp_path).communicate(timeout=100)
    assert "is complete" in output
    assert (tmp_path / "srun-called").read_text() == called


@pytest.mark.usefixtures("dump")
def test_a_job_at_its_time_limit_stops_its_tasks_and_requeues_itself(tmp_path: Path) -> None:
    job = start(tmp_path, task="sleep 100")
    deadline = time.monotonic() + 60
    while not (tmp_path / "srun-called").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 75, output
    assert (tmp_path / "scontrol-called").read_text() == "requeue 12\n"


@pytest.mark.usefixtures("dump")
def test_a_job_that_failed_ends_with_its_code_and_is_not_requeued(tmp_path: Path) -> None:
    job = start(tmp_path, task="bash -c 'exit 3'")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 3, output
    assert not (tmp_path / "scontrol-called").exists()
