"""The generated encyclopedia as experiments use it: built, its sources drawn, and named."""

from pathlib import Path
from typing import Any

import numpy as np

from nulls_dist import durable, hashing
from nulls_dist.benchmark.commands import Commands
from nulls_dist.data.format import SOURCES_FILE
from nulls_dist.data.source_table import SourceTable
from nulls_dist.hashing import U64Array


def build_generated(
    commands: Commands, out: Path, *options: Any, articles: int, seed: int, log: Path | None = None
) -> None:
    """Build a corpus of the generated encyclopedia.

    Args:
        commands: runs the command.
        out: directory that appears.
        options: more words of the command line, such as the tokenizer.
        articles: sources that are invented.
        seed: of what is invented.
        log: file for the command's log, instead of stderr.
    """
    commands.python(
        *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
        *("--articles", articles, "--seed", seed, "--out", out),
        *options,
        log=log,
    )


def draw_sources(source_ids: U64Array, *, seed: int) -> list[int]:
    """Return sources in an order drawn by a hash; the first ones are an experiment's choice."""
    keys = hashing.key(source_ids, seed=seed, domain=hashing.Domain.CHOICE)
    return [int(source_id) for source_id in source_ids[np.argsort(keys)]]


def write_request(corpus_dir: Path, source_ids: list[int], path: Path) -> None:
    """Write the list that names some sources of a corpus by their titles, as a user would."""
    titles = SourceTable(corpus_dir / SOURCES_FILE).titles_of(source_ids)
    durable.write_text(path, "".join(f"title:{title}\n" for title in titles))
