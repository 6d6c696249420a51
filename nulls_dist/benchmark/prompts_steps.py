"""Building a prompt index and asking it, each run in a process of its own."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from nulls_dist.benchmark.random_sources import RandomNames, first_aliases
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.retrieval.encoder import NgramEncoder
from nulls_dist.retrieval.index_files import build_index
from nulls_dist.retrieval.prompt_index import PromptIndex
from nulls_dist.routing.router import NUM_BUCKETS, Router, RouterSpec

_LETTERS: Final = "abcdefghiklmnoprstu"
_LIMIT: Final = 5

Misspell = Callable[[str, np.random.Generator], str]


def build(table: Path, index: Path) -> dict[str, Any]:
    """Build the index of a table."""
    build_index(SourceTable(table), index, NgramEncoder())
    return {}


def answer_queries(table: Path, index: Path, num_queries: int) -> dict[str, Any]:
    """Ask for sources drawn at random, in every kind of wording."""
    sources = SourceTable(table)
    draws = np.random.default_rng(1)
    spec = RouterSpec(seed=0, num_layers=1, num_experts=1, num_sinks=0, num_active=0)
    router = Router(spec, np.zeros(NUM_BUCKETS, dtype=np.uint16))
    opened = PromptIndex(index, router, NgramEncoder(), sources_sha256=sha256_file(table))
    kinds: dict[str, dict[str, float]] = {}
    with closing(opened):
        for kind, change in _KINDS.items():
            rows = draws.integers(0, len(sources), num_queries)
            numbers = first_aliases(rows, len(sources)) if kind == "alias" else rows
            places, seconds = [], []
            for row, name in zip(rows, RandomNames()(numbers).to_pylist(), strict=True):
                text = change(name, draws)
                started = time.perf_counter()
                found = [entry.source_id for entry in opened.search(text, _LIMIT)]
                seconds.append(time.perf_counter() - started)
                wanted = int(sources.source_ids[row])
                places.append(found.index(wanted) if wanted in found else _LIMIT)
            kinds[kind] = {
                "first": float(np.mean(np.array(places) == 0)),
                "first_five": float(np.mean(np.array(places) < _LIMIT)),
                "median_ms": 1e3 * float(np.median(seconds)),
                "p95_ms": 1e3 * float(np.quantile(seconds, 0.95)),
            }
    return {"kinds": kinds}


def _keep(name: str, draws: np.random.Generator) -> str:
    return name


def _respell(name: str, draws: np.random.Generator) -> str:
    """Give one letter another value."""
    place = _draw_letter(name, draws)
    others = _LETTERS.replace(name[place].lower(), "")
    return name[:place] + others[draws.integers(len(others))] + name[place + 1 :]


def _drop_letter(name: str, draws: np.random.Generator) -> str:
    place = _draw_letter(name, draws)
    return name[:place] + name[place + 1 :]


def _swap_letters(name: str, draws: np.random.Generator) -> str:
    place = int(draws.integers(len(name) - 1))
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]


def _respell_each_word(name: str, draws: np.random.Generator) -> str:
    return " ".join(_respell(word, draws) for word in name.split(" "))


def _reverse_words(name: str, draws: np.random.Generator) -> str:
    return " ".join(reversed(name.split(" ")))


def _cut_end(name: str, draws: np.random.Generator) -> str:
    """Leave out the last three letters."""
    return name[:-3]


def _ask(name: str, draws: np.random.Generator) -> str:
    return f"what is known about {name} and when did it begin?"


def _draw_letter(name: str, draws: np.random.Generator) -> int:
    letters = [place for place, letter in enumerate(name) if letter.isalpha()]
    return letters[int(draws.integers(len(letters)))]


_KINDS: Final[dict[str, Misspell]] = {
    "title": _keep,
    "alias": _keep,
    "inside a question": _ask,
    "one letter wrong": _respell,
    "one letter missing": _drop_letter,
    "two letters swapped": _swap_letters,
    "each word misspelt": _respell_each_word,
    "words reversed": _reverse_words,
    "without the end": _cut_end,
}
