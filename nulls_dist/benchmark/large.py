"""Full sizes on one machine: the tools on a 1B checkpoint, a few training steps of 125M."""

from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.large_inputs import (
    generate_corpus,
    write_checkpoint_alone,
    write_request,
)

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
    corpus = generate_corpus(commands, work / "corpus")
    checkpoint, request, stripped = work / "checkpoint", work / "sources.txt", work / "stripped"
    num_bytes = write_checkpoint_alone(preset, corpus, checkpoint)
    write_request(request, corpus, _DELETED)
    strip = (commands.tool("strip_sources"), checkpoint, request, "--max-collateral", 1)
    settings = (word for item in _TRAINING.items() for word in ("--set", f"{item[0]}={item[1]}"))
    train = ("-m", "nulls_dist.pretrain", "--preset", "nulls_125m", "--data", corpus.root)
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
    return {
        "preset": preset,
        "sources": len(set(corpus.source_ids.tolist())),
        "deleted": _DELETED,
        "checkpoint_bytes": num_bytes,
        "commands": {name: commands.measure(*words) for name, words in measured.items()},
    }


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
