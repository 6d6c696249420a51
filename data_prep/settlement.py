"""What becomes of documents whose text is nearly that of another source.

A deleted source stays alive in what others copied from it. Policies:

off     nothing is looked for.
report  the corpus is as it would be; duplicates.parquet names the pairs.
group   sources that share a pair, directly or through others, become one: that with the lowest key
        (shorter keys are lower, equally long ones compare as text). All their documents, also those
        without a duplicate, belong to it.
drop    of documents that are connected by pairs the first stays: of the source with the lowest key,
        the one with the lowest number.

The names of a source that is gone lead to the sources that have its texts, so that they can be
deleted by each of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from data_prep.source_table import FormerSource
from data_prep.spool import Spooled
from nulls_dist.sources import normalize_name

DROPPED: Final = "near-duplicate of another source"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """What was decided for every document; by default all stay as they are."""

    heads: dict[str, str] = field(default_factory=dict)
    """Normalised key of a source -> key of the source that it becomes part of."""
    dropped: frozenset[int] = frozenset()
    """Documents left out, by their number in reading order."""
    num_text_bytes: int = 0
    """Length of their texts."""
    former: Sequence[FormerSource] = ()
    """Sources that are gone."""
    largest_group: int = 1
    """Sources that became one, at most."""

    def settle(self, number: int, spooled: Spooled) -> Spooled | None:
        """Return the document as it belongs into the corpus, None where it does not.

        Args:
            number: its place in reading order.
            spooled: the document.
        """
        if number in self.dropped:
            return None
        document = spooled.document
        head = self.heads.get(normalize_name(document.source_key)) if self.heads else None
        if head is None:
            return spooled
        return spooled._replace(document=replace(document, source_key=head), is_taken_in=True)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "dropped": sorted(self.dropped)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Settlement":
        """Return what `to_dict` described."""
        former = [FormerSource(**entry) for entry in content["former"]]
        return cls(**{**content, "former": former, "dropped": frozenset(content["dropped"])})
