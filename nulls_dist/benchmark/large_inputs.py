"""What the tools are measured on at full size: a generated corpus and a random checkpoint."""

from pathlib import Path
from typing import Final

from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.own_process import run_alone
from nulls_dist.benchmark.random_checkpoint import write_random_checkpoint
from nulls_dist.config.presets import load_preset
from nulls_dist.data.corpus import Corpus

_ARTICLES: Final = 5000


def generate_corpus(commands: Commands, out: Path) -> Corpus:
    """Build a corpus of generated articles, each once; `out` must not exist."""
    commands.python(
        *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
        *("--articles", _ARTICLES, "--renderings", 1, "--out", out),
        *("--tokenizer", "train:bpe:8000"),
    )
    return Corpus(out)


def write_checkpoint_alone(
    preset: str, corpus: Corpus, out: Path, *, with_optimizer: bool = True
) -> int:
    """Write a checkpoint of a preset's size with random values; return its bytes.

    In a process of its own: a child's peak memory counts what its parent held when it forked.
    """
    run_alone(_write, preset, corpus.root, out, with_optimizer=with_optimizer)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def write_request(path: Path, corpus: Corpus, num_sources: int) -> None:
    """Write a list of the first sources of a corpus by their ids."""
    source_ids = sorted(set(corpus.source_ids.tolist()))[:num_sources]
    path.write_text("".join(f"id:{source_id}\n" for source_id in source_ids), encoding="utf-8")


def _write(preset: str, corpus_dir: Path, out: Path, *, with_optimizer: bool) -> None:
    write_random_checkpoint(
        load_preset(preset), Corpus(corpus_dir), out, with_optimizer=with_optimizer
    )
