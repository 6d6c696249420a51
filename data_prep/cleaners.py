"""The cleaners that a corpus can be built with, from wiki markup to text."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from mwparserfromhell.parser import ParserError

from data_prep.documents import Document, Quarantined
from data_prep.page_watchdog import PageWatchdog
from data_prep.wikitext import LinkPrefixes, clean_wikitext
from data_prep.wikitext_hf import clean_like_hugging_face
from data_prep.wikitext_limits import find_excess

MAX_PAGE_SECONDS: Final = 600.0
"""The slowest page that the limits let through takes a few seconds."""

CLEANERS: Final[dict[str, tuple[Callable[[str, LinkPrefixes], str], str]]] = {
    "nulls": (clean_wikitext, "nulls-2"),
    "hf": (clean_like_hugging_face, "hf-1"),
}
"""By the name on the command line: from markup to text, and the name and version in a manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WikitextCleaner:
    """Cleans pages; picklable, so that worker processes can have it."""

    name: str
    """A key of `CLEANERS`."""
    prefixes: LinkPrefixes = field(default_factory=LinkPrefixes)
    max_seconds: float = MAX_PAGE_SECONDS
    """A page that takes longer ends the process."""

    @property
    def version(self) -> str:
        """Name and version of the cleaner, as a corpus's manifest has it."""
        return CLEANERS[self.name][1]

    def __call__(self, document: Document) -> Document | Quarantined:
        """Return the page as text, or quarantined where its markup breaks a limit."""
        reason = find_excess(document.text)
        if reason is None:
            clean, _ = CLEANERS[self.name]
            page = f"page {document.title!r} (key {document.source_key})"
            try:
                with _watchdog(os.getpid(), self.max_seconds).watch(page):
                    return replace(document, text=clean(document.text, self.prefixes))
            except ParserError:
                reason = "markup that the parser cannot read"
        return Quarantined(source_key=document.source_key, title=document.title, reason=reason)


@cache
def _watchdog(_: int, max_seconds: float) -> PageWatchdog:
    """Return the watchdog of a process, started with its first page."""
    return PageWatchdog(max_seconds)
