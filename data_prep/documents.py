"""What every reader yields: documents, and further names of their sources.

A reader is an iterator of `Document | Alias | Quarantined | Skipped`. It streams: it holds one page
at a time, and it is deterministic, so that two builds of one input are equal byte for byte.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text of one source."""

    source_key: str
    """Stable key of the source inside the corpus (a page id, a generated article's number)."""
    doc_index: int
    """Which document of its source this is, from 0."""
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
