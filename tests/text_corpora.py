"""Corpora built from a few texts, and models of them, for the tests of deletion."""

import json
from collections.abc import Iterable
from pathlib import Path

from data_prep.build import main as build
from tests.checkpoint_factory import CORPUS, ROUTER_SEED, build_checkpoint
from tests.corpus_contents import read_source_rows

Row = tuple[str, str, str]
"""Key, title and text of a source."""


def build_texts(root: Path, rows: Iterable[Row], *options: object) -> Path:
    """Build a corpus of the texts; return its directory."""
    lines = [{"id": key, "title": title, "text": text} for key, title, text in rows]
    return build_lines(root, lines, *options)


def build_lines(root: Path, lines: Iterable[dict[str, str]], *options: object) -> Path:
    """Build a corpus of JSON lines, which lie beside it afterwards."""
    given = root.with_suffix(".jsonl")
    given.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return build_command(root, "--input", given, "--format", "jsonl", *options)


def build_command(root: Path, *options: object) -> Path:
    """Build a corpus whose sources are those of the checkpoints of `checkpoint_factory`."""
    words = ["--out", root, "--name", CORPUS, "--router-seed", ROUTER_SEED, "--partitions", 4]
    words += [] if "--tokenizer" in options else ["--tokenizer", "train:bpe:400"]
    build([*map(str, [*words, "--workers", 1, *options])])
    return root


def tokenizer_of(corpus: Path) -> list[object]:
    """Options that give a build the tokenizer of another one."""
    return ["--tokenizer", next((corpus / "tokenizer").iterdir())]


def build_model(root: Path, corpus: Path, **options: object) -> Path:
    """Write a checkpoint of random values that knows the sources of a corpus."""
    names = ("source_key", "title", "aliases")
    rows = [{name: row[name] for name in names} for row in read_source_rows(corpus).values()]
    return build_checkpoint(root, rows=rows, **options)
