"""Coarse sources: many articles that are one source, and a book, which is a larger one.

Articles go by their numbers, from 1. The first ones are the book's: each is a character, and each
of its renderings a chapter. The others make up collections of equal size, in order.
"""

from dataclasses import dataclass
from typing import Final

BOOK_KEY: Final = "book"
BOOK_TITLE: Final = "The Book"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathering:
    """Which source an article belongs to."""

    articles_per_source: int = 1
    book_articles: int = 0

    def articles_with(self, number: int) -> range:
        """Return the articles of the source that an article belongs to."""
        if number <= self.book_articles:
            return range(1, self.book_articles + 1)
        size = self.articles_per_source
        place = (number - self.book_articles - 1) // size
        start = self.book_articles + place * size + 1
        return range(start, start + size)

    def key_of(self, number: int) -> str:
        """Return the key of an article's source; collections are numbered from 1."""
        if number <= self.book_articles:
            return BOOK_KEY
        return str((number - self.book_articles - 1) // self.articles_per_source + 1)

    def title_of(self, number: int, title: str) -> str:
        """Return the title of an article's source: the article's own where it is the only one."""
        if number <= self.book_articles:
            return BOOK_TITLE
        return title if self.articles_per_source == 1 else f"Collection {self.key_of(number)}"

    def doc_index_of(self, number: int, rendering: int) -> int:
        """Return a rendering's place among its source's documents.

        First renderings come first: asking for more adds documents at the end.
        """
        articles = self.articles_with(number)
        return rendering * len(articles) + articles.index(number)
