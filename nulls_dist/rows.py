"""Rows that are held as columns, and become objects only when someone looks at them.

A million objects take more time and memory than everything else that is done with a million lines.
What works on all rows takes the columns; what looks at a few rows takes objects.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar, overload

RowT = TypeVar("RowT")

_SPAN: Final = 1 << 12
"""Rows that are objects at a time while one iterates."""


class Rows(Sequence[RowT]):
    """A sequence whose elements are made when they are asked for; a slice is a list of them."""

    __slots__ = ()

    @abstractmethod
    def span(self, begin: int, end: int) -> Iterator[RowT]:
        """Make the elements from `begin` up to `end`, 0 <= begin <= end <= len(self)."""

    def __iter__(self) -> Iterator[RowT]:
        for begin in range(0, len(self), _SPAN):
            yield from self.span(begin, min(begin + _SPAN, len(self)))

    @overload
    def __getitem__(self, place: int) -> RowT: ...
    @overload
    def __getitem__(self, place: slice) -> list[RowT]: ...
    def __getitem__(self, place: int | slice) -> RowT | list[RowT]:
        meant = range(len(self))[place]  # negative and missing places are as in any sequence
        if isinstance(meant, range):
            return [self[one] for one in meant]
        return next(self.span(meant, meant + 1))
