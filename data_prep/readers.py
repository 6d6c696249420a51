"""The inputs a corpus can be built from, opened under one interface."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep import jsonl, parquet, text_files
from data_prep.cleaners import WikitextCleaner
from data_prep.documents import Part, split_items
from data_prep.extract import Cleaner, keep_text
from data_prep.generated.encyclopedia import EncyclopediaSpec, build_encyclopedia, read_documents
from data_prep.generated.probes import write_facts
from data_prep.input_files import InputFiles, find_files
from data_prep.mediawiki import Dump
from data_prep.multistream import find_index, list_ranges
from data_prep.rows import Fields
from data_prep.wikitext import LinkPrefixes
from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError
from nulls_dist.sources import source_id_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """An opened input."""

    corpus: str
    """Name of the corpus."""
    parts: Callable[[], Iterable[Part]]
    """Divides the input; called again for another pass."""
    is_divisible: bool
    """Whether the parts are cheap to list; otherwise listing them reads the input."""
    cleaner: Cleaner
    cleaner_version: str
    describe: Callable[[], dict[str, Any]]
    """Says what the manifest says of the input; reads all of it for its checksum."""
    shares_sources: bool = False
    """Whether many documents may name one source; they are numbered in reading order."""
    write_facts: Callable[[Path], None] | None = None
    """Writes the ground truth, where there is one."""


def open_generated(spec: EncyclopediaSpec, *, name: str | None) -> Reader:
    """Open the generated encyclopedia."""
    corpus = name or "generated"
    return Reader(
        corpus=corpus,
        parts=lambda: split_items(read_documents(spec)),
        is_divisible=False,
        cleaner=keep_text,
        cleaner_version="none",
        describe=lambda: {
            "format": "generated",
            **asdict(spec),
            "multiplicities": list(spec.multiplicities),  # as JSON gives them back
        },
        write_facts=lambda path: write_facts(
            build_encyclopedia(spec), path, partial(source_id_of, corpus)
        ),
    )


def open_wikipedia(path: Path, *, name: str | None, cleaner: str, index: Path | None) -> Reader:
    """Open a MediaWiki XML dump.

    Args:
        path: the dump, bz2 or plain.
        name: name of the corpus; None takes the dump's <dbname>.
        cleaner: a key of `data_prep.cleaners.CLEANERS`.
        index: of a multistream dump; None looks beside the dump.

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
    index = index or find_index(path)
    if index is None:
        logger.info("no index beside %s: one process reads it, from beginning to end", path)
    prefixes = LinkPrefixes.of_namespaces(dump.site.namespaces)
    clean = WikitextCleaner(name=cleaner, prefixes=prefixes)
    return Reader(
        corpus=corpus,
        parts=partial(_divide_dump, dump, index),
        is_divisible=index is not None,
        cleaner=clean,
        cleaner_version=clean.version,
        describe=lambda: {
            "format": "wikipedia",
            "file": path.name,
            "num_bytes": path.stat().st_size,
            "sha256": sha256_file(path),
            "index_sha256": index and sha256_file(index),
        },
    )


def _divide_dump(dump: Dump, index: Path | None) -> Iterable[Part]:
    return split_items(dump.items()) if index is None else list_ranges(dump.path, index)


def open_jsonl(given: str, *, name: str | None, fields: Fields) -> Reader:
    """Open JSON Lines: a file, the files of a folder, or those of a pattern."""
    files = find_files(given, jsonl.SUFFIXES)
    return _open_rows("jsonl", files, name, fields, lambda: jsonl.list_parts(files, fields))


def open_parquet(given: str, *, name: str | None, fields: Fields) -> Reader:
    """Open Parquet: a file, the files of a folder, or those of a pattern."""
    files = find_files(given, parquet.SUFFIXES)
    return _open_rows("parquet", files, name, fields, lambda: parquet.list_parts(files, fields))


def open_text(given: str, *, name: str | None) -> Reader:
    """Open text files, each a source known by its name."""
    files = find_files(given, text_files.SUFFIXES)
    return Reader(
        corpus=_choose_name(name, files),
        parts=lambda: text_files.list_parts(files),
        is_divisible=True,
        cleaner=keep_text,
        cleaner_version="none",
        describe=lambda: {"format": "text", **files.describe()},
    )


def _open_rows(
    kind: str,
    files: InputFiles,
    name: str | None,
    fields: Fields,
    parts: Callable[[], Iterable[Part]],
) -> Reader:
    return Reader(
        corpus=_choose_name(name, files),
        parts=parts,
        is_divisible=True,
        cleaner=keep_text,
        cleaner_version="none",
        describe=lambda: {"format": kind, **asdict(fields), **files.describe()},
        shares_sources=fields.source_key is not None,
    )


def _choose_name(name: str | None, files: InputFiles) -> str:
    if name is None:
        logger.warning(
            "the corpus is named %r after its input; the name is part of every source id, so give "
            "--name %s for every later corpus of these sources",
            files.name,
            files.name,
        )
    return name or files.name
