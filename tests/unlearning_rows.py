"""Invented rows of the unlearning benchmark's tables."""

from nulls_dist.benchmark.unlearning import tables
from nulls_dist.benchmark.unlearning.figures import OWN, Evidence

HOSTILE = "<script>alert('$x_1$')</script>&"
SOURCES = {"deleted": (1, 2, 3), "kept": (11, 12, 13, 14), "unseen": (21, 22, 23)}
KINDS = (("unique", "born", 1), ("shared", "seat", 3), ("shared", "seat", 10))
RULE = ("inferable", HOSTILE, 5)
ACCURACY = {"deleted": 0.1, "kept": 0.9, "unseen": 0.1}


def answers_of(asked, draws):
    """Answers of a model to one question per kind of fact and source."""
    for group, sources in SOURCES.items():
        for source_id in sources:
            for number, (kind, attribute, multiplicity) in enumerate((*KINDS, RULE)):
                yield {
                    "seed": 0,
                    **asked.wanted,
                    "group": group,
                    "source_id": source_id,
                    "fact_id": f"{source_id}/{number}",
                    "kind": kind,
                    "attribute": attribute,
                    "phrasing": 0,
                    "held_out": False,
                    "multiplicity": multiplicity,
                    "taught": multiplicity,
                    "remaining": multiplicity,
                    "correct": asked == OWN or draws.random() < ACCURACY[group],
                    "nll": float(draws.exponential()),
                    "wrong_nll": draws.exponential(size=5).tolist(),
                }


def documents_of(asked, draws):
    """Scores of two documents per source, the second one for validation."""
    for group, sources in SOURCES.items():
        for source_id in sources:
            for number in (0, 1):
                yield {
                    "seed": 0,
                    **asked.wanted,
                    "group": group,
                    "source_id": source_id,
                    "doc_index": number,
                    "validation": number == 1,
                    "num_tokens": 10,
                    "nll": 10 * float(draws.exponential()),
                    "accuracy": 0.5,
                    "extraction": 0.25,
                    **{
                        name: float(draws.exponential())
                        for name in ("loss", "zlib", "min_k", "min_k_plus")
                    },
                }


def evidence_of(tmp_path, answers=(), documents=(), sources=()):
    """What a benchmark's directory with these rows gives."""
    parts = {tables.ANSWERS: answers, tables.DOCUMENTS: documents, tables.SOURCES: sources}
    for kind, rows in parts.items():
        (tmp_path / kind).mkdir()
        tables.write_table(tmp_path / kind / "all.parquet", kind, rows)
    return Evidence.read(tmp_path)
