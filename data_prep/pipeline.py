"""The whole build: extract, tokenizer, tokenise, partitions, sources, manifest.

Everything is written inside one partial directory that appears under its final name at the end, so
a corpus is complete or absent. Every stage leaves markers of what is done, so that the same build,
started again after a kill, continues. The result depends on the input and the options, never on who
works, on interruptions or on the time of day.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from data_prep.crew import Crew, LocalCrew
from data_prep.documents import Part
from data_prep.duplicates import Duplicates, Search, settle_duplicates
from data_prep.exclusion import REASONS as EXCLUSION_REASONS
from data_prep.exclusion import Exclusion, find_excluded
from data_prep.extract import Extracted, extract_documents
from data_prep.readers import Reader
from data_prep.settlement import DROPPED, Settlement
from data_prep.shards import PartitionOptions, read_sources, write_partition
from data_prep.source_table import write_sources
from data_prep.spill import PartSlice, SpillOptions, group_parts, spill_group
from data_prep.steps import do_once
from data_prep.tokenizers import check_tokenizer, install_tokenizer, trained_vocab_size
from nulls_dist import __version__
from nulls_dist.checkpoint.format import MANIFEST_FILE as CHECKPOINT_MANIFEST
from nulls_dist.checkpoint.format import read_manifest as read_checkpoint_manifest
from nulls_dist.data.duplicates import Policy
from nulls_dist.data.format import (
    DUPLICATES_FILE,
    FACTS_FILE,
    MANIFEST_FILE,
    PARTITIONS_DIR,
    SOURCES_FILE,
    CorpusManifest,
    TokenizerRecord,
    read_manifest,
    token_type_for,
)
from nulls_dist.durable import (
    BEGUN_FILE,
    FileRecord,
    partial_directory,
    read_json,
    record_file,
    resumable_directory,
    sha256_file,
    write_json,
)
from nulls_dist.errors import ConfigError, InputError, NullsError
from nulls_dist.routing.router import NUM_BUCKETS
from nulls_dist.source_list import read_requests

_PACKAGES: Final = (
    "datasketch",
    "mwparserfromhell",
    "numpy",
    "pyarrow",
    "sentencepiece",
    "tokenizers",
)
_WORK_DIR: Final = "work"
_STAGES: Final = ("spool", "signatures", "spill", "sources")


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
    exclude_deleted: Path | None = None
    """Checkpoint whose deleted sources are left out."""
    duplicates: Policy = Policy.REPORT
    """What to do about near-duplicates across sources."""
    duplicate_threshold: float = 0.8
    """Least Jaccard similarity of near-duplicates, above 0, at most 1."""

    def __post_init__(self) -> None:
        if NUM_BUCKETS % self.num_partitions:
            raise ConfigError(
                f"--partitions {self.num_partitions} must divide {NUM_BUCKETS}, the number of "
                "router buckets"
            )
        if not 0 < self.duplicate_threshold <= 1:
            raise ConfigError(
                f"--duplicate-threshold {self.duplicate_threshold} must be above 0 and at most 1"
            )
        # What cannot be used is refused now, not after hours of reading.
        check_tokenizer(self.tokenizer, self.eos_token)
        if self.exclude is not None:
            read_requests(self.exclude)
        if self.exclude_deleted is not None:
            read_checkpoint_manifest(self.exclude_deleted)


def build_corpus(
    reader: Reader, options: BuildOptions, out: Path, crew: Crew | None = None
) -> CorpusManifest:
    """Build a corpus from an opened input, or continue a build that was killed.

    Args:
        reader: the input.
        options: how to build.
        out: directory that appears when everything is written.
        crew: who works; this process by default.

    Raises:
        InputError: `out` exists or was begun with another input or other options, or the input
            cannot become a corpus.
    """
    crew = crew or LocalCrew()
    with _directory(reader, options, out, crew) as root:
        if not crew.lead((root / MANIFEST_FILE).exists):
            manifest = _write_corpus(reader, options, root, crew)
            if crew.is_leader:
                write_json(root / MANIFEST_FILE, manifest.to_dict())
        manifest = crew.lead(lambda: read_manifest(root))
        if crew.is_leader:
            shutil.rmtree(root / _WORK_DIR, ignore_errors=True)
    return manifest


@contextlib.contextmanager
def _directory(reader: Reader, options: BuildOptions, out: Path, crew: Crew) -> Iterator[Path]:
    """Yield the directory that all ranks fill; the leader begins and publishes it."""
    if not crew.is_leader:
        crew.barrier()
        try:
            yield partial_directory(out)
        except NullsError:
            # The ranks end with this one, and nobody is left to remove what was begun.
            (partial_directory(out) / BEGUN_FILE).unlink(missing_ok=True)
            raise
        return
    with resumable_directory(out, _plan(reader, options)) as root:
        for stage in _STAGES:
            (root / _WORK_DIR / stage).mkdir(parents=True, exist_ok=True)
        (root / PARTITIONS_DIR).mkdir(exist_ok=True)
        crew.barrier()
        yield root


def _plan(reader: Reader, options: BuildOptions) -> dict[str, Any]:
    """Return everything that the bytes of a corpus depend on."""
    tokenizer, exclude = options.tokenizer, options.exclude
    deleted = options.exclude_deleted
    given = trained_vocab_size(tokenizer) is None
    return {
        "input": reader.describe(),
        "--name": reader.corpus,
        "cleaner": reader.cleaner_version,
        "--tokenizer": sha256_file(Path(tokenizer)) if given else tokenizer,
        "--eos-token": options.eos_token,
        "--partitions": options.num_partitions,
        "--router-seed": options.router_seed,
        "--limit": options.limit,
        "--exclude": exclude and sha256_file(exclude),
        "--exclude-deleted": deleted and sha256_file(deleted / CHECKPOINT_MANIFEST),
        "--duplicates": options.duplicates.value,
        "--duplicate-threshold": options.duplicate_threshold,
        "versions": _versions(),
    }


def _write_corpus(reader: Reader, options: BuildOptions, root: Path, crew: Crew) -> CorpusManifest:
    work = root / _WORK_DIR
    found = extract_documents(
        _parts(reader, crew), work / "spool", cleaner=reader.cleaner, crew=crew, limit=options.limit
    )
    exclusion = _leave_out(found, reader, options, work, crew)
    if not found.num_documents:
        raise InputError(
            f"the input holds no document; left out: {dict(found.skipped + found.quarantined)}"
        )
    groups = group_parts(found)
    duplicates = _settle_duplicates(found, groups, exclusion, reader, options, root, crew)
    tokenizer = _install_tokenizer(found, exclusion, duplicates.settlement, options, root, crew)
    spill = SpillOptions(
        root=root,
        folder=work / "spill",
        corpus=reader.corpus,
        router_seed=options.router_seed,
        num_partitions=options.num_partitions,
        tokenizer=tokenizer,
        exclusion=exclusion,
        settlement=duplicates.settlement,
    )
    crew.map(partial(spill_group, options=spill), enumerate(groups), label="tokenise")
    partitions = PartitionOptions(
        root=root,
        spill=spill.folder,
        num_spill_files=len(groups),
        sources=work / "sources",
        num_partitions=options.num_partitions,
        token_type=token_type_for(tokenizer.vocab_size),
        tokenizer_sha256=tokenizer.sha256,
        router_seed=options.router_seed,
        shares_sources=reader.shares_sources,
    )
    records = crew.map(
        partial(write_partition, options=partitions),
        range(options.num_partitions),
        label="partitions",
    )
    files = [FileRecord(**entry) for entry in records]
    return crew.lead(
        lambda: _finish(reader, options, partitions, tokenizer, found, duplicates, files)
    )


def _parts(reader: Reader, crew: Crew) -> Iterable[Part]:
    return crew.lead(lambda: list(reader.parts())) if reader.is_divisible else reader.parts()


def _leave_out(
    found: Extracted, reader: Reader, options: BuildOptions, work: Path, crew: Crew
) -> Exclusion:
    """Decide what is left out, and take it from the counts."""
    if (options.exclude or options.exclude_deleted) is None or not found.num_documents:
        return Exclusion()
    exclusion = crew.lead(
        lambda: Exclusion.from_dict(
            do_once(
                work / "exclusion.json",
                lambda: find_excluded(
                    found,
                    reader.corpus,
                    requests=options.exclude,
                    checkpoint=options.exclude_deleted,
                ).to_dict(),
            )
        )
    )
    found.num_documents -= sum(exclusion.skipped.values())
    found.num_text_bytes -= exclusion.num_text_bytes
    found.skipped.update(exclusion.skipped)
    return exclusion


def _settle_duplicates(
    found: Extracted,
    groups: list[list[PartSlice]],
    exclusion: Exclusion,
    reader: Reader,
    options: BuildOptions,
    root: Path,
    crew: Crew,
) -> Duplicates:
    """Decide what becomes of near-duplicates, and take what is dropped from the counts."""
    search = Search(
        policy=options.duplicates,
        threshold=options.duplicate_threshold,
        corpus=reader.corpus,
        shares_sources=reader.shares_sources,
    )
    duplicates = settle_duplicates(groups, exclusion, search, root, root / _WORK_DIR, crew)
    settlement = duplicates.settlement
    if settlement.dropped:
        found.num_documents -= len(settlement.dropped)
        found.num_text_bytes -= settlement.num_text_bytes
        found.skipped[DROPPED] += len(settlement.dropped)
    return duplicates


def _install_tokenizer(
    found: Extracted,
    exclusion: Exclusion,
    settlement: Settlement,
    options: BuildOptions,
    root: Path,
    crew: Crew,
) -> TokenizerRecord:
    def install() -> dict[str, Any]:
        kept = (
            spooled
            for number, spooled in enumerate(found.documents())
            if exclusion.keeps(spooled) and number not in settlement.dropped
        )
        record = install_tokenizer(
            options.tokenizer,
            root,
            eos_token=options.eos_token,
            texts=(spooled.document.text for spooled in kept),
            num_text_bytes=found.num_text_bytes,
        )
        return asdict(record)

    marker = root / _WORK_DIR / "tokenizer.json"
    return crew.lead(lambda: TokenizerRecord(**do_once(marker, install)))


def _finish(
    reader: Reader,
    options: BuildOptions,
    partitions: PartitionOptions,
    tokenizer: TokenizerRecord,
    found: Extracted,
    duplicates: Duplicates,
    records: list[FileRecord],
) -> CorpusManifest:
    root = partitions.root
    num_excluded = sum(found.skipped[reason] for reason in EXCLUSION_REASONS)
    sources = read_sources(partitions)
    former = duplicates.settlement.former
    aliases = write_sources(root / SOURCES_FILE, sources, found.aliases(), former)
    files = [
        *records,
        record_file(root, SOURCES_FILE, num_rows=len(sources)),
        record_file(root, tokenizer.file),
    ]
    if duplicates.facts is not None:
        num_pairs = duplicates.facts["pairs"]
        files.append(record_file(root, DUPLICATES_FILE, num_rows=num_pairs))
    if reader.write_facts is not None:
        reader.write_facts(root / FACTS_FILE)
        files.append(record_file(root, FACTS_FILE))
    return CorpusManifest(
        corpus=reader.corpus,
        router_seed=options.router_seed,
        tokenizer=tokenizer,
        token_type=partitions.token_type,
        num_partitions=options.num_partitions,
        num_sources=len(sources),
        num_documents=found.num_documents,
        num_tokens=sum(record.num_tokens for record in records),
        files=tuple(files),
        cleaner=reader.cleaner_version,
        build={
            "input": read_json(root / BEGUN_FILE)["input"],
            "tokenizer": Path(options.tokenizer).name,
            "limit": options.limit,
            "excluded_documents": num_excluded,
            "text_bytes": found.num_text_bytes,
            "skipped": dict(found.skipped),
            "quarantined": dict(found.quarantined),
            "aliases": {
                "resolved": aliases.num_resolved,
                "cyclic": aliases.num_cyclic,
                "without_target": aliases.num_without_target,
            },
            "duplicates": duplicates.facts,
            "versions": _versions(),
        },
    )


def _versions() -> dict[str, str]:
    versions = {"nulls-dist": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions
