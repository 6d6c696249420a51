"""Full sizes on one machine: the tools on a 1B checkpoint, a few training steps of 125M."""

import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.random_checkpoint import write_random_checkpoint
from nulls_dist.config.presets import load_preset
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import NullsError

_ARTICLES: Final = 5000
_DELETED: Final = 10
_TRAINING: Final = {
    "train.steps": 3,
    "train.global_batch_rows": 4,
    "train.micro_batch_rows": 1,
    "train.eval_every": 0,
    "model.vocab_size": 0,
}


def bench_large(work: Path, preset: str) -> dict[str, Any]:
    """Measure wall time and peak memory of every command.

    Args:
        work: directory for the corpus and the checkpoints (about 16 GB per billion parameters);
            it must not exist.
        preset: whose checkpoint the tools work on.

    Returns:
        "checkpoint_bytes", "commands" (seconds and peak_mib of each).
    """
    commands = Commands()
    work.mkdir(parents=True)
    corpus_dir, checkpoint = work / "corpus", work / "checkpoint"
    commands.python(
        *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
        *("--articles", _ARTICLES, "--renderings", 1, "--out", corpus_dir),
        *("--tokenizer", "train:bpe:8000"),
    )
    corpus = Corpus(corpus_dir)
    write_checkpoint_in_child(preset, corpus_dir, checkpoint)
    request = work / "sources.txt"
    source_ids = sorted({int(source_id) for source_id in corpus.source_ids})[:_DELETED]
    request.write_text("".join(f"id:{source_id}\n" for source_id in source_ids))
    stripped = work / "stripped"
    strip = (commands.tool("strip_sources"), checkpoint, request, "--max-collateral", 1)
    settings = (word for item in _TRAINING.items() for word in ("--set", f"{item[0]}={item[1]}"))
    train = ("-m", "nulls_dist.pretrain", "--preset", "nulls_125m", "--data", corpus_dir)
    measured = {
        "verify_checkpoint": (commands.tool("verify_checkpoint"), checkpoint),
        "strip_sources --dry-run": (*strip, "--dry-run"),
        "strip_sources": (*strip, "--out", stripped),
        "convert_to_hf": (
            commands.tool("convert_to_hf"),
            stripped,
            work / "hf",
            "--form",
            "backbone",
        ),
        "pretrain nulls_125m": (*train, "--run-dir", work / "run", *settings),
    }
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    return {
        "preset": preset,
        "sources": len(set(corpus.source_ids.tolist())),
        "deleted": _DELETED,
        "checkpoint_bytes": sum(path.stat().st_size for path in files),
        "commands": {name: measure_command(*words) for name, words in measured.items()},
    }


def write_checkpoint_in_child(
    preset: str, corpus_dir: Path, checkpoint: Path, *, with_optimizer: bool = True
) -> None:
    """Write a checkpoint of a preset's size with random values.

    In a process of its own: a child's peak memory counts what its parent held when it forked.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(
            _write_checkpoint, preset, corpus_dir, checkpoint, with_optimizer=with_optimizer
        ).result()


def _write_checkpoint(
    preset: str, corpus_dir: Path, checkpoint: Path, *, with_optimizer: bool
) -> None:
    write_random_checkpoint(
        load_preset(preset), Corpus(corpus_dir), checkpoint, with_optimizer=with_optimizer
    )


def measure_command(*words: Any) -> dict[str, float]:
    """Run a command of this project; return its wall time and peak resident memory."""
    command = [sys.executable, *(str(word) for word in words)]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise NullsError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return {"seconds": time.monotonic() - started, "peak_mib": usage.ru_maxrss / 1024}


def format_large(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        f"{result['preset']}: {result['checkpoint_bytes'] / 1e9:.1f} GB checkpoint, "
        f"{result['deleted']} of {result['sources']} sources",
        f"{'':<28}{'seconds':>9}{'peak MiB':>10}",
    ]
    lines += [
        f"{name:<28}{row['seconds']:>9.1f}{row['peak_mib']:>10.0f}"
        for name, row in result["commands"].items()
    ]
    return "\n".join(lines)
