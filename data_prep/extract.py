"""First stage: read, clean and spool documents, so that what follows can read them twice.

The spool is one JSON object per line in reading order. It has the same bytes for any number of
workers, and memory does not grow with the corpus, apart from the names of aliases.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from data_prep.documents import Alias, Document, Item, Quarantined, Skipped
from data_prep.parallel_map import chunked, ordered_map
from nulls_dist.sources import normalize_name

logger = logging.getLogger(__name__)

Cleaner = Callable[[Document], Document | Quarantined]

_ITEMS_PER_CHUNK: Final = 32


@dataclass(kw_only=True, slots=True)
class Extracted:
    """What the first stage found, besides the spool."""

    num_documents: int = 0
    num_text_bytes: int = 0
    aliases: dict[str, str] = field(default_factory=dict)
    """Alias -> title of its target."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Pages per reason."""
    quarantined: Counter[str] = field(default_factory=Counter)


def clean_chunk(items: list[Item], *, cleaner: Cleaner) -> list[Item]:
    """Clean the documents of a chunk; an error carries the page's title as a note."""
    return [_clean(item, cleaner) if isinstance(item, Document) else item for item in items]


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
    items: Iterable[Item],
    spool: Path,
    *,
    cleaner: Cleaner,
    num_workers: int,
    limit: int | None = None,
) -> Extracted:
    """Write the cleaned documents of a reader to `spool`.

    Args:
        items: what the reader yields.
        spool: the file to write.
        cleaner: picklable function from markup to text.
        num_workers: processes that clean.
        limit: stop after this many documents; None reads everything.
    """
    found = Extracted()
    chunks = ordered_map(
        partial(clean_chunk, cleaner=cleaner),
        chunked(items, _ITEMS_PER_CHUNK),
        num_workers=num_workers,
    )
    with spool.open("w", encoding="utf-8") as file:
        for item in (item for chunk in chunks for item in chunk):
            if isinstance(item, Document):
                file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
                found.num_documents += 1
                found.num_text_bytes += len(item.text.encode())
            else:
                _count(item, found)
            if found.num_documents == limit:
                break
    return found


def _count(item: Alias | Quarantined | Skipped, found: Extracted) -> None:
    match item:
        case Alias():
            found.aliases.setdefault(normalize_name(item.name), normalize_name(item.target_title))
        case Quarantined():
            found.quarantined[item.reason] += 1
            logger.warning("left out %r (key %s): %s", item.title, item.source_key, item.reason)
        case Skipped():
            found.skipped[item.reason] += 1


def read_spool(spool: Path) -> Iterator[str]:
    """Yield the lines of a spool."""
    with spool.open(encoding="utf-8", newline="\n") as file:
        yield from file


def parse_document(line: str) -> Document:
    """Return the document of one line of a spool."""
    fields: Mapping[str, str | int] = json.loads(line)
    return Document(**fields)  # type: ignore[arg-type]


def sample_texts(spool: Path, found: Extracted, *, max_bytes: int) -> Iterator[str]:
    """Yield the text of every n-th document, n such that about `max_bytes` come together."""
    stride = -(-found.num_text_bytes // max_bytes)
    for number, line in enumerate(read_spool(spool)):
        if number % stride == 0:
            yield parse_document(line).text
