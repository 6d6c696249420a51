"""Whether a benchmark can tell anything, and what is known by heart of a book."""

from dataclasses import asdict

import pytest

from nulls_dist.benchmark.unlearning import figures
from nulls_dist.benchmark.unlearning.encyclopedia import BOOK_TITLE
from nulls_dist.benchmark.unlearning.measures import describe_sharing
from nulls_dist.benchmark.unlearning.power import judge_power
from nulls_dist.benchmark.unlearning.recitation import measure_recitation
from tests.unlearning_rows import evidence_of

BOOK, OTHER = 1, 2


def answer(asked, source_id, fact, *, correct):
    """One answer about a unique fact of a deleted source."""
    return {
        "seed": 0,
        **asked.wanted,
        "group": "deleted",
        "source_id": source_id,
        "fact_id": fact,
        "kind": "unique",
        "attribute": "born",
        "phrasing": 0,
        "held_out": False,
        "multiplicity": 1,
        "taught": 1,
        "remaining": 0,
        "correct": correct,
        "nll": 1.0,
        "wrong_nll": [2.0],
    }


def document(asked, source_id, number, value):
    """One document of a deleted source, whose measures are all equal."""
    names = ("nll", "accuracy", "extraction", "loss", "zlib", "min_k", "min_k_plus")
    return {
        "seed": 0,
        **asked.wanted,
        "group": "deleted",
        "source_id": source_id,
        "doc_index": number,
        "validation": False,
        "num_tokens": 10,
        **dict.fromkeys(names, value),
    }


def source(source_id, title):
    return {
        "seed": 0,
        "source_id": source_id,
        "title": title,
        "group": "deleted",
        "asked": True,
        "lost_share": 1.0,
        "max_shared": 1.0,
        "shared_facts": 0,
    }


def answers_of(num_sources, *, num_known):
    """Two facts per source; of the first sources one is known, to own sinks alone."""
    return [
        answer(asked, source_id, fact, correct=is_own and source_id < num_known and fact == "a")
        for source_id in range(num_sources)
        for fact in ("a", "b")
        for asked, is_own in ((figures.OWN, True), (figures.RETRAINED_OFF, False))
    ]


@pytest.mark.parametrize(
    ("num_sources", "num_known", "words"),
    [
        (6, 0, "the model knew no unique fact"),
        (6, 1, "may be nothing"),
        (1, 1, "it has no interval"),
        (6, 6, "Forgetting can be told: the deleted sources added [0.500, 0.500]"),
    ],
)
def test_what_was_hardly_known_tells_nothing(tmp_path, num_sources, num_known, words):
    power = judge_power(evidence_of(tmp_path, answers_of(num_sources, num_known=num_known)))
    assert words in power["verdict"]
    assert (power["num_facts"], power["num_known"]) == (2 * num_sources, num_known)
    assert (power["num_sources"], power["num_sources_known"]) == (num_sources, num_known)
    assert power["accuracy"] == num_known / (2 * num_sources)
    assert power["guessing"] == 0.0


def test_few_sources_without_a_leak_leave_room_for_one(tmp_path):
    """None of 6 leaks: with less than 5 % probability if 0.393 of such sources do."""
    power = judge_power(evidence_of(tmp_path, answers_of(6, num_known=6)))
    assert (1 - power["unnoticed"]) ** 6 == pytest.approx(0.05)
    assert "up to 39% of such sources still may" in power["verdict"]
    assert "too narrow" in power["verdict"]


def test_nothing_asked_tells_nothing(tmp_path):
    assert "nothing can be told" in judge_power(evidence_of(tmp_path))["verdict"]


def test_a_book_is_measured_by_itself(tmp_path):
    models = {figures.OWN: 1.0, figures.OFF: 0.25, figures.RETRAINED_OFF: 0.0}
    documents = [
        document(asked, source_id, number, value if source_id == BOOK else 0.5)
        for asked, value in models.items()
        for source_id in (BOOK, OTHER)
        for number in range(2)
    ]
    answers = [
        answer(asked, source_id, str(fact), correct=source_id == BOOK and fact < 4 * value)
        for asked, value in models.items()
        for source_id in (BOOK, OTHER)
        for fact in range(4)
    ]
    sources = [source(BOOK, BOOK_TITLE), source(OTHER, "Collection 1")]
    found = measure_recitation(evidence_of(tmp_path, answers, documents, sources))
    values = {name: result.value for name, result in found.items()}
    for name, value in (("own sinks", 1.0), ("off", 0.25), ("retrained, off", 0.0)):
        assert values[f"memorization accuracy: the book, {name}"] == value
        assert values[f"extraction strength: the book, {name}"] == value
        assert values[f"extraction strength: text of deleted sources, {name}"] == (value + 0.5) / 2
        assert values[f"answer accuracy: the book, unique facts, {name}"] == value
    assert values["isolation: the book, off"] == 0.75
    assert found["isolation: the book, off"].interval is None, asdict(found)


def test_a_world_without_a_book_has_no_figures_of_one(tmp_path):
    documents = [document(figures.OWN, OTHER, 0, 1.0)]
    found = measure_recitation(evidence_of(tmp_path, (), documents, [source(OTHER, "A")]))
    assert set(found) == {
        "memorization accuracy: text of deleted sources, own sinks",
        "extraction strength: text of deleted sources, own sinks",
    }


def test_facts_are_shared_by_a_number_or_where_there_are_many_by_a_range():
    assert describe_sharing([3, 30], [3, 10, 30]) == ["3", "30"]
    levels = [2, 3, 9, 10, 40]
    assert describe_sharing(levels, levels) == ["2", "3 to 9", "3 to 9", *["10 or more"] * 2]
