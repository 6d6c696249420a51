"""The inputs a corpus can be built from, opened under one interface."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.cleaners import WikitextCleaner
from data_prep.documents import Item
from data_prep.extract import Cleaner, keep_text
from data_prep.generated.encyclopedia import EncyclopediaSpec, build_encyclopedia, read_documents
from data_prep.generated.probes import write_facts
from data_prep.mediawiki import Dump
from data_prep.wikitext import LinkPrefixes
from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError
from nulls_dist.sources import source_id_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """An opened input."""

    corpus: str
    """Name of the corpus."""
    items: Iterable[Item]
    cleaner: Cleaner
    cleaner_version: str
    origin: dict[str, Any]
    """What the manifest says of the input."""
    write_facts: Callable[[Path], None] | None = None
    """Writes the ground truth, where there is one."""


def open_generated(spec: EncyclopediaSpec, *, name: str | None) -> Reader:
    """Open the generated encyclopedia."""
    corpus = name or "generated"
    return Reader(
        corpus=corpus,
        items=read_documents(spec),
        cleaner=keep_text,
        cleaner_version="none",
        origin={"format": "generated", **asdict(spec)},
        write_facts=lambda path: write_facts(
            build_encyclopedia(spec), path, partial(source_id_of, corpus)
        ),
    )


def open_wikipedia(path: Path, *, name: str | None, cleaner: str) -> Reader:
    """Open a MediaWiki XML dump.

    Args:
        path: the dump, bz2 or plain.
        name: name of the corpus; None takes the dump's <dbname>.
        cleaner: a key of `data_prep.cleaners.CLEANERS`.

    Raises:
        InputError: the file is not a dump, or there is no name.
    """
    dump = Dump(path)
    corpus = name or dump.site.dbname
    if not corpus:
        raise InputError(
            f"{path}: the dump has no <dbname>, and the corpus's name is part of every source id: "
            "give one with --name"
        )
    prefixes = LinkPrefixes.of_namespaces(dump.site.namespaces)
    clean = WikitextCleaner(name=cleaner, prefixes=prefixes)
    return Reader(
        corpus=corpus,
        items=dump.items(),
        cleaner=clean,
        cleaner_version=clean.version,
        origin={
            "format": "wikipedia",
            "file": path.name,
            "num_bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        },
    )
