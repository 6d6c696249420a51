"""What every reader yields: documents, and further names of their sources.

An input comes in parts. A part is called and yields `Document | Alias | Quarantined | Skipped`. It
streams: it holds one page at a time, and it is deterministic, as is the division into parts, so
that two builds of one input are equal byte for byte.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text of one source."""

    source_key: str
    """Stable key of the source inside the corpus (a page id, a generated article's number)."""
    doc_index: int
    """Which document of its source this is, from 0. Not used where many documents may name one
    source: there they are numbered in reading order."""
    title: str
    """Human name of the source."""
    text: str
    """Text, or raw markup when the reader's `needs_cleaning` is true."""
    rev_id: int = 0
    """Revision of the source, 0 where there is none."""
    timestamp: str = ""
    """ISO 8601 time of that revision, empty where there is none."""
    url: str = ""
    licence: str = ""
    grouping: str = ""
    """What the source is part of (a publisher, an author), empty where there is nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alias:
    """Another name (a redirect) of the source titled `target_title`."""

    name: str
    target_title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A page that was left out because it breaks a deterministic limit."""

    source_key: str
    title: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A page that holds no text of a source: not an article, deleted or empty."""

    reason: str


Item = Document | Alias | Quarantined | Skipped
"""What reading a page or row gave."""

Part = Callable[[], Iterator[Item]]
"""A piece of the input that is read by itself; picklable."""

_PART_ITEMS: Final = 1024
_PART_CHARS: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class ReadPart:
    """Items that were read already, because their input cannot be read in pieces."""

    items: tuple[Item, ...]

    def __call__(self) -> Iterator[Item]:
        """Yield the items."""
        return iter(self.items)


def split_items(items: Iterable[Item]) -> Iterator[ReadPart]:
    """Divide items into parts of a few megabytes, as they come."""
    held: list[Item] = []
    num_chars = 0
    for item in items:
        held.append(item)
        num_chars += len(item.text) if isinstance(item, Document) else 0
        if len(held) >= _PART_ITEMS or num_chars >= _PART_CHARS:
            yield ReadPart(tuple(held))
            held, num_chars = [], 0
    if held:
        yield ReadPart(tuple(held))
