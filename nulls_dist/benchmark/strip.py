"""Time of a deletion on a full-size checkpoint, against plain tools that touch the same files.

The peer hashes each file that the deletion rewrites, copies it, syncs the copy and hashes that:
what any verified copy must do. Both sides take turns, and read what the page cache holds.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.large_inputs import (
    generate_corpus,
    write_checkpoint_alone,
    write_request,
)
from nulls_dist.data.corpus import Corpus


def bench_strip(work: Path, preset: str, *, rounds: int) -> dict[str, Any]:
    """Measure deletions of one source and of 1,000.

    Args:
        work: directory for the corpus and the checkpoints (about 5 GB per billion parameters); it
            must not exist.
        preset: whose checkpoint, with random weights and without optimizer.
        rounds: how often each side is measured; medians are reported.

    Returns:
        "cases": per number of sources seconds, peak_mib, touched_bytes, peer_seconds, ratio.
    """
    commands = Commands()
    work.mkdir(parents=True)
    checkpoint = work / "checkpoint"
    corpus = generate_corpus(commands, work / "corpus")
    num_bytes = write_checkpoint_alone(preset, corpus, checkpoint, with_optimizer=False)
    return {
        "preset": preset,
        "checkpoint_bytes": num_bytes,
        "cases": {
            str(number): _measure_case(work, checkpoint, corpus, number, rounds)
            for number in (1, 1000)
        },
    }


def _measure_case(
    work: Path, checkpoint: Path, corpus: Corpus, num_sources: int, rounds: int
) -> dict[str, float]:
    request, out = work / "sources.txt", work / "stripped"
    write_request(request, corpus, num_sources)
    ours, theirs, peaks = [], [], []
    touched: list[str] = []
    for _ in range(rounds):
        found = Commands.measure(
            *(Commands.tool("strip_sources"), checkpoint, request, "--out", out),
            *("--max-collateral", 1, "--records", work / "records"),
        )
        ours.append(found["seconds"])
        peaks.append(found["peak_mib"])
        (report,) = sorted((work / "records").glob("*/report.json"))[-1:]
        touched = json.loads(report.read_text(encoding="utf-8"))["report"]["rewritten"]
        shutil.rmtree(out)
        theirs.append(_copy_verified([checkpoint / name for name in touched], work / "copy"))
    return {
        "seconds": statistics.median(ours),
        "startup_seconds": _startup(),
        "peak_mib": max(peaks),
        "touched_bytes": sum((checkpoint / name).stat().st_size for name in touched),
        "peer_seconds": statistics.median(theirs),
        "ratio": statistics.median(mine / peer for mine, peer in zip(ours, theirs, strict=True)),
    }


def _copy_verified(files: list[Path], folder: Path) -> float:
    """Hash, copy, sync and hash again by sha256sum, cp and sync; return the seconds."""
    folder.mkdir()
    started = time.monotonic()
    for file in files:
        copy = str(folder / file.name)
        for command in (
            ("sha256sum", str(file)),
            ("cp", str(file), copy),
            ("sync", copy),
            ("sha256sum", copy),
        ):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    shutil.rmtree(folder)
    return seconds


def _startup() -> float:
    """Return the seconds that Python takes to import what the tool needs."""
    started = time.monotonic()
    code = "import nulls_dist.unlearn.deletion"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - started


def format_strip(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        f"{result['preset']}: {result['checkpoint_bytes'] / 1e9:.2f} GB, without optimizer",
        f"{'sources':>8}{'seconds':>9}{'start-up':>10}{'peer':>8}{'ratio':>7}{'GB':>7}{'MiB':>7}",
    ]
    lines += [
        f"{number:>8}{case['seconds']:>9.2f}{case['startup_seconds']:>10.2f}"
        f"{case['peer_seconds']:>8.2f}{case['ratio']:>7.2f}{case['touched_bytes'] / 1e9:>7.2f}"
        f"{case['peak_mib']:>7.0f}"
        for number, case in result["cases"].items()
    ]
    return "\n".join(lines)
