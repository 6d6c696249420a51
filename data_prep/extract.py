"""First stage: read, clean and spool documents, so that what follows can read them twice.

The input comes in parts, each read and cleaned by itself. A part leaves a spool file, the names of
its aliases, and a marker that says it is done, so that a build that was killed reads only the
others again. The files have the same bytes whoever works and in whatever order.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.crew import Crew
from data_prep.documents import Alias, Document, Item, Part, Quarantined, Skipped
from data_prep.spool import Spooled, new_spool, read_spool, read_spooled_names
from data_prep.steps import do_once
from nulls_dist.durable import read_json, write_json
from nulls_dist.sources import normalize_name

logger = logging.getLogger(__name__)

Cleaner = Callable[[Document], Document | Quarantined]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpooledPart:
    """One part of the input after the first stage."""

    number: int
    num_documents: int
    """Documents that count: fewer than are spooled where --limit ends inside the part."""
    num_text_bytes: int
    skipped: dict[str, int]
    """Pages per reason."""
    quarantined: list[list[str]]
    """Key, title and reason of each page left out."""


@dataclass(kw_only=True, slots=True)
class Extracted:
    """What the first stage found."""

    folder: Path
    parts: list[SpooledPart]
    num_documents: int = 0
    num_text_bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Pages per reason."""
    quarantined: Counter[str] = field(default_factory=Counter)

    def documents(self) -> Iterator[Spooled]:
        """Yield all documents in reading order."""
        for part in self.parts:
            yield from read_spool(spool_file(self.folder, part.number), part.num_documents)

    def names(self) -> Iterator[Any]:
        """Yield a table per part: its documents without their texts."""
        for part in self.parts:
            yield read_spooled_names(spool_file(self.folder, part.number), part.num_documents)

    def aliases(self) -> dict[str, str]:
        """Return the title of its target for each alias, the first one where there are several."""
        found: dict[str, str] = {}
        for part in self.parts:
            for name, target in read_json(_alias_file(self.folder, part.number)):
                found.setdefault(normalize_name(name), normalize_name(target))
        return found


def spool_file(folder: Path, number: int) -> Path:
    """Return where the documents of a part are."""
    return folder / f"{number:08d}.arrow"


def _alias_file(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.aliases.json"


def clean_items(items: Iterable[Item], cleaner: Cleaner) -> Iterator[Item]:
    """Clean the documents among items; an error carries the page's title as a note."""
    for item in items:
        yield _clean(item, cleaner) if isinstance(item, Document) else item


def _clean(document: Document, cleaner: Cleaner) -> Item:
    try:
        cleaned = cleaner(document)
    except Exception as error:
        error.add_note(f"while cleaning page {document.title!r} (key {document.source_key})")
        raise
    if isinstance(cleaned, Document) and not cleaned.text.strip():
        return Skipped(reason="no text after cleaning")
    return cleaned


def keep_text(document: Document) -> Document:
    """Clean nothing: the cleaner of readers that yield plain text."""
    return replace(document, text=document.text.strip())


def extract_documents(
    parts: Iterable[Part],
    folder: Path,
    *,
    cleaner: Cleaner,
    crew: Crew,
    limit: int | None = None,
) -> Extracted:
    """Spool the cleaned documents of an input.

    Args:
        parts: of the input, in order.
        folder: where the spool files are or will be.
        cleaner: picklable function from markup to text.
        crew: who works.
        limit: stop after this many documents; None reads everything.
    """
    count = _Countdown(limit)
    spooled = crew.map(
        partial(_extract_part, folder=folder, cleaner=cleaner, limit=limit),
        enumerate(parts),
        label="read",
        is_enough=None if limit is None else count.reaches_zero,
    )
    parts_read = [SpooledPart(**content) for content in spooled]
    if limit is not None and parts_read:
        parts_read[-1] = crew.lead(lambda: _cut_part(folder, parts_read[-1], count.num_left))
    found = Extracted(folder=folder, parts=parts_read)
    for part in parts_read:
        found.num_documents += part.num_documents
        found.num_text_bytes += part.num_text_bytes
        found.skipped.update(part.skipped)
        found.quarantined.update(reason for _, _, reason in part.quarantined)
        for key, title, reason in part.quarantined if crew.is_leader else ():
            logger.warning("left out %r (key %s): %s", title, key, reason)
    return found


class _Countdown:
    """Counts documents down to the limit."""

    def __init__(self, limit: int | None) -> None:
        self.num_left = limit or 0

    def reaches_zero(self, part: dict[str, Any]) -> bool:
        """Count a part's documents."""
        self.num_left -= part["num_documents"]
        return self.num_left <= 0


def _cut_part(folder: Path, part: SpooledPart, num_left: int) -> SpooledPart:
    """Take the documents over the limit from the last part; `num_left` is minus their number."""
    if num_left >= 0:
        return part
    num_documents = part.num_documents + num_left
    names = read_spooled_names(spool_file(folder, part.number), num_documents)
    num_bytes = sum(names.column("num_bytes").to_pylist())
    return replace(part, num_documents=num_documents, num_text_bytes=num_bytes)


def _extract_part(
    numbered: tuple[int, Part], *, folder: Path, cleaner: Cleaner, limit: int | None
) -> dict[str, Any]:
    number, part = numbered
    return do_once(
        folder / f"{number:08d}.json",
        lambda: asdict(_spool_part(number, clean_items(part(), cleaner), folder, limit)),
    )


def _spool_part(number: int, items: Iterable[Item], folder: Path, limit: int | None) -> SpooledPart:
    num_documents = num_bytes = 0
    skipped: Counter[str] = Counter()
    aliases: list[list[str]] = []
    quarantined: list[list[str]] = []
    with new_spool(spool_file(folder, number)) as spool:
        for item in items:
            match item:
                case Document():
                    num_bytes += spool.add(item)
                    num_documents += 1
                case Alias():
                    aliases.append([item.name, item.target_title])
                case Quarantined():
                    quarantined.append([item.source_key, item.title, item.reason])
                case Skipped():
                    skipped[item.reason] += 1
            if num_documents == limit:
                break
    write_json(_alias_file(folder, number), aliases)
    return SpooledPart(
        number=number,
        num_documents=num_documents,
        num_text_bytes=num_bytes,
        skipped=dict(skipped),
        quarantined=quarantined,
    )
