"""What is known by heart: documents of deleted sources, and all that is known of a book.

A book is one source that is deleted as a whole. One source has no interval; books of several seeds
are several sources.
"""

from typing import Final

import numpy as np
import pyarrow as pa

from nulls_dist.benchmark.unlearning import measures
from nulls_dist.benchmark.unlearning.encyclopedia import BOOK_TITLE
from nulls_dist.benchmark.unlearning.figures import (
    DELETIONS,
    MODELS,
    OWN,
    Evidence,
    Figures,
    check_paired,
    clusters_of,
    mean_of,
)
from nulls_dist.benchmark.unlearning.tables import column, select
from nulls_dist.benchmark.unlearning.world import DELETED
from nulls_dist.eval.metrics import likelihood, memorization

TEXT: Final = "text of deleted sources"
BOOK: Final = "the book"
RECITED: Final = {
    memorization.MEMORIZATION_ACCURACY: "accuracy",
    memorization.EXTRACTION_STRENGTH: "extraction",
}
"""Measure -> its column of the table of documents."""


def measure_recitation(evidence: Evidence) -> Figures:
    """Return what every model recites of what it was trained on, and what it knows of a book."""
    figures: Figures = {}
    for name, asked in MODELS.items():
        texts = evidence.texts(asked, group=DELETED, validation=False)
        figures |= _recited(f"{TEXT}, {name}", texts)
        figures |= _recited(f"{BOOK}, {name}", of_book(evidence, texts))
        facts = of_book(evidence, evidence.facts(asked, group=DELETED, kind="unique"))
        figures |= mean_of(
            likelihood.ANSWER_ACCURACY, f"{BOOK}, unique facts, {name}", facts, "correct"
        )
    return figures | _isolation(evidence)


def of_book(evidence: Evidence, table: pa.Table) -> pa.Table:
    """Return the rows about a book, none where the world has no book."""
    books = select(evidence.sources, title=BOOK_TITLE, group=DELETED)
    return select(table, source_id=tuple(np.unique(column(books, "source_id")).tolist()))


def _recited(group: str, texts: pa.Table) -> Figures:
    figures: Figures = {}
    for metric, name in RECITED.items():
        # Tables of an earlier version lack a column.
        known = texts.filter(pa.array(~np.isnan(column(texts, name).astype(np.float64))))
        figures |= mean_of(metric, group, known, name)
    return figures


def _isolation(evidence: Evidence) -> Figures:
    figures: Figures = {}
    for name, (gone, retrained) in DELETIONS.items():
        rows = [
            of_book(evidence, evidence.facts(asked, group=DELETED, kind="unique"))
            for asked in (OWN, gone, retrained)
        ]
        if not all(map(len, rows)):
            continue
        check_paired(*rows)
        group = f"{BOOK}, unique facts, {name}"
        figures[f"{measures.ISOLATION.name}: {BOOK}, {name}"] = measures.isolation(
            *(column(each, "correct").astype(np.float64) for each in rows),
            clusters=clusters_of(rows[0]),
            group=group,
        )
    return figures
