"""The whole build: extract, tokenizer, tokenise, partitions, sources, manifest.

Everything is written inside one partial directory that appears under its final name at the end, so
a corpus is complete or absent. The result depends on the input and the options, never on the number
of workers or the time of day.
"""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from data_prep.exclusion import REASON as EXCLUDED
from data_prep.exclusion import exclude_sources
from data_prep.extract import Extracted, extract_documents
from data_prep.readers import Reader
from data_prep.shards import write_partitions
from data_prep.source_table import ResolvedAliases, write_sources
from data_prep.spill import Spill
from data_prep.tokenize import tokenize_spool
from data_prep.tokenizers import check_tokenizer, install_tokenizer
from nulls_dist import __version__
from nulls_dist.data.format import (
    FACTS_FILE,
    MANIFEST_FILE,
    SOURCES_FILE,
    CorpusManifest,
    TokenizerRecord,
    token_type_for,
)
from nulls_dist.durable import new_directory, record_file, write_json
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.routing.router import NUM_BUCKETS

_PACKAGES: Final = (
    "mwparserfromhell",
    "numpy",
    "pyarrow",
    "sentencepiece",
    "tokenizers",
)
_WORK_DIR: Final = "work"

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildOptions:
    """How to build a corpus, whatever the input."""

    tokenizer: str
    """A file, or "train:bpe:N"."""
    eos_token: str | None = None
    num_partitions: int = 16
    """Divides the number of buckets."""
    router_seed: int = 0
    limit: int | None = None
    """Documents to stop after."""
    exclude: Path | None = None
    """List of sources to leave out."""
    num_workers: int = 1

    def __post_init__(self) -> None:
        if NUM_BUCKETS % self.num_partitions:
            raise ConfigError(
                f"--partitions {self.num_partitions} must divide {NUM_BUCKETS}, the number of "
                "router buckets"
            )
        check_tokenizer(self.tokenizer, self.eos_token)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """What was built, for the summary."""

    manifest: CorpusManifest
    found: Extracted
    aliases: ResolvedAliases


def build_corpus(reader: Reader, options: BuildOptions, out: Path) -> BuildResult:
    """Build a corpus from an opened input.

    Args:
        reader: the input.
        options: how to build.
        out: directory that appears when everything is written.

    Raises:
        InputError: `out` exists, or the input cannot become a corpus.
    """
    with new_directory(out) as root:
        work = root / _WORK_DIR
        work.mkdir()
        spool = work / "documents.jsonl"
        items = _with_progress(reader.items, "read")
        if options.exclude is not None:
            items = exclude_sources(items, options.exclude, reader.corpus)
        found = extract_documents(
            items,
            spool,
            cleaner=reader.cleaner,
            num_workers=options.num_workers,
            limit=options.limit,
        )
        if not found.num_documents:
            raise InputError(
                f"{reader.origin} holds no document; left out: "
                f"{dict(found.skipped + found.quarantined)}"
            )
        tokenizer = install_tokenizer(
            options.tokenizer, root, eos_token=options.eos_token, spool=spool, found=found
        )
        manifest, aliases = _write_corpus(reader, options, root, tokenizer, found)
        shutil.rmtree(work)
        write_json(root / MANIFEST_FILE, manifest.to_dict())
    return BuildResult(manifest=manifest, found=found, aliases=aliases)


def _write_corpus(
    reader: Reader,
    options: BuildOptions,
    root: Path,
    tokenizer: TokenizerRecord,
    found: Extracted,
) -> tuple[CorpusManifest, ResolvedAliases]:
    token_type = token_type_for(tokenizer.vocab_size)
    work = root / _WORK_DIR
    spill = Spill(
        work / "spill",
        corpus=reader.corpus,
        router_seed=options.router_seed,
        num_partitions=options.num_partitions,
        token_type=token_type,
    )
    documents = tokenize_spool(
        work / "documents.jsonl", root, tokenizer, num_workers=options.num_workers
    )
    spill.add_all(_with_progress(documents, "tokenise", found.num_documents))
    partitions, sources = write_partitions(
        spill,
        root,
        num_partitions=options.num_partitions,
        token_type=token_type,
        tokenizer_sha256=tokenizer.sha256,
        router_seed=options.router_seed,
    )
    aliases = write_sources(root / SOURCES_FILE, sources, found.aliases)
    files = [
        *partitions,
        record_file(root, SOURCES_FILE, num_rows=len(sources)),
        record_file(root, tokenizer.file),
    ]
    if reader.write_facts is not None:
        reader.write_facts(root / FACTS_FILE)
        files.append(record_file(root, FACTS_FILE))
    manifest = CorpusManifest(
        corpus=reader.corpus,
        router_seed=options.router_seed,
        tokenizer=tokenizer,
        token_type=token_type,
        num_partitions=options.num_partitions,
        num_sources=len(sources),
        num_documents=found.num_documents,
        num_tokens=sum(record.num_tokens for record in partitions),
        files=tuple(files),
        cleaner=reader.cleaner_version,
        build=_describe_build(reader, options, found, aliases),
    )
    return manifest, aliases


def _describe_build(
    reader: Reader, options: BuildOptions, found: Extracted, aliases: ResolvedAliases
) -> dict[str, Any]:
    return {
        "input": reader.origin,
        "tokenizer": Path(options.tokenizer).name,
        "limit": options.limit,
        "excluded_documents": found.skipped[EXCLUDED],
        "text_bytes": found.num_text_bytes,
        "skipped": dict(found.skipped),
        "quarantined": dict(found.quarantined),
        "aliases": {
            "resolved": aliases.num_resolved,
            "cyclic": aliases.num_cyclic,
            "without_target": aliases.num_without_target,
        },
        "versions": {"nulls-dist": __version__, **_package_versions()},
    }


def _package_versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _with_progress(items: Iterable[ItemT], label: str, total: int | None = None) -> Iterable[ItemT]:
    """Show a progress bar on a terminal."""
    from tqdm import tqdm  # heavy: not needed for --help

    bar: Iterable[ItemT] = tqdm(
        items, desc=label, total=total, unit=" pages", disable=not sys.stderr.isatty()
    )
    return bar
