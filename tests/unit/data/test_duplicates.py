"""duplicates.parquet: which sources keep a text alive, and what of the format is checked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulls_dist.data.duplicates import DUPLICATES_SCHEMA, DuplicateTable
from nulls_dist.errors import IntegrityError

Pair = tuple[tuple[int, int], tuple[int, int], float]


def write(path: Path, pairs: list[Pair], policy: str = "report", threshold: str = "0.8") -> Path:
    rows = [
        {
            "source_id_a": a[0],
            "doc_index_a": a[1],
            "source_id_b": b[0],
            "doc_index_b": b[1],
            "similarity": similarity,
            "source_key_a": f"k{a[0]}",
            "source_key_b": f"k{b[0]}",
            "title_a": f"T{a[0]}",
            "title_b": f"T{b[0]}",
        }
        for a, b, similarity in pairs
    ]
    schema = DUPLICATES_SCHEMA.with_metadata({"policy": policy, "threshold": threshold})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def near(table: DuplicateTable, source_id: int) -> list[tuple[int, float]]:
    return [(entry.source_id, entry.similarity) for entry in table.of_source(source_id)]


def test_near_duplicates_of_a_copy_are_those_of_its_first(tmp_path: Path) -> None:
    # 2 and 3 are copies of 1; 5 is a copy of 4, which is like 1; 6 is like 4 only.
    pairs = [
        ((1, 0), (2, 0), 1.0),
        ((1, 0), (3, 7), 1.0),
        ((1, 0), (4, 0), 0.875),
        ((4, 0), (5, 0), 1.0),
        ((4, 0), (6, 0), 0.9375),
    ]
    table = DuplicateTable(write(tmp_path / "d.parquet", pairs))
    assert near(table, 2) == [(1, 1.0), (3, 1.0), (4, 0.875), (5, 0.875)]
    assert near(table, 5) == [(4, 1.0), (6, 0.9375), (1, 0.875), (2, 0.875), (3, 0.875)]
    assert near(table, 6) == [(4, 0.9375), (5, 0.9375)]
    assert near(table, 99) == []
    (first, *_) = table.of_source(2)
    assert (first.source_key, first.title) == ("k1", "T1")


def test_the_most_similar_documents_decide(tmp_path: Path) -> None:
    pairs = [((1, 0), (2, 0), 0.875), ((1, 1), (2, 0), 0.9375), ((1, 2), (2, 3), 0.8125)]
    table = DuplicateTable(write(tmp_path / "d.parquet", pairs))
    assert near(table, 1) == [(2, 0.9375)]


def test_a_table_without_pairs_answers(tmp_path: Path) -> None:
    assert DuplicateTable(write(tmp_path / "d.parquet", [])).of_source(3) == []


@settings(max_examples=50, deadline=None)
@given(
    groups=st.lists(
        st.lists(st.integers(1, 8), min_size=1, max_size=4, unique=True), min_size=1, max_size=6
    ),
    links=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))),
)
def test_relation_is_symmetric(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]], links: set[tuple[int, int]]
) -> None:
    """Group g: a text that several sources hold, each as its document g; links join groups."""
    pairs: list[Pair] = []
    for number, (first, *copies) in enumerate(groups):
        pairs += [((first, number), (copy, number), 1.0) for copy in copies]
    for low, high in links:
        if low < high < len(groups) and groups[low][0] != groups[high][0]:
            pairs.append(((groups[low][0], low), (groups[high][0], high), 0.875))
    path = write(tmp_path_factory.mktemp("d") / "d.parquet", pairs)
    table = DuplicateTable(path)
    found = {source: dict(near(table, source)) for source in range(1, 9)}
    for source, others in found.items():
        assert source not in others
        for other, similarity in others.items():
            assert found[other][source] == similarity


@pytest.mark.parametrize(
    ("pairs", "metadata", "message"),
    [
        ([((1, 0), (2, 0), 0.5)], {}, "similarity"),
        ([((1, 0), (2, 0), float("nan"))], {}, "similarity"),
        ([((1, 0), (2, 0), 1.5)], {}, "similarity"),
        ([((1, 0), (1, 1), 0.9)], {}, "inside one source"),
        ([], {"threshold": "high"}, "threshold"),
    ],
)
def test_what_breaks_the_format_is_refused(
    tmp_path: Path, pairs: list[Pair], metadata: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "d.parquet", pairs, **metadata)
    with pytest.raises(IntegrityError, match=message):
        DuplicateTable(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match="not readable"):
        DuplicateTable(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(IntegrityError, match="schema"):
        DuplicateTable(path)
    pq.write_table(DUPLICATES_SCHEMA.empty_table(), path)
    with pytest.raises(IntegrityError, match="policy"):
        DuplicateTable(path)
    with pytest.raises(IntegrityError, match=r"policy.*'ignore'"):
        DuplicateTable(write(path, [], policy="ignore"))


def pairs_of(texts: dict[int, tuple[int, int]], likeness: dict[tuple[int, int], float]):
    """The pairs that a build finds among sources 10, 11, ... of one document each.

    Args:
        texts: source -> number of its document and of its text; equal texts have equal signatures.
        likeness: similarity of texts that are nearly the same.
    """
    firsts = {text: source for source, (_, text) in sorted(texts.items(), reverse=True)}
    found = [((firsts[text], source), 1.0) for source, (_, text) in texts.items()]
    found = [entry for entry in found if entry[0][0] != entry[0][1]]
    for (one, other), value in likeness.items():
        if one in firsts and other in firsts:
            found.append((tuple(sorted((firsts[one], firsts[other]))), value))
    named = [((a, texts[a][0]), (b, texts[b][0]), value) for (a, b), value in found]
    return sorted(named)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.dictionaries(
        st.integers(10, 25), st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12
    ),
    likeness=st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1]),
        st.sampled_from((0.875, 0.9375)),
        max_size=6,
    ),
    gone=st.sets(st.integers(10, 25)),
    by_document=st.booleans(),
)
def test_pairs_without_some_documents_are_those_found_among_the_others(
    tmp_path_factory, texts, likeness, gone, by_document
):
    path = tmp_path_factory.mktemp("pairs") / "d.parquet"
    table = DuplicateTable(write(path, pairs_of(texts, likeness)))
    left = {source: text for source, text in texts.items() if source not in gone}
    expected = pq.read_table(write(path.with_name("left.parquet"), pairs_of(left, likeness)))
    gone = sorted(gone)
    sources = np.array([] if by_document else gone, dtype=np.uint64)
    documents = [(source, texts[source][0]) for source in gone if source in texts and by_document]
    found = table.without(sources, np.array(documents, dtype=np.uint64).reshape(-1, 2))
    assert found.equals(expected)
    assert found.schema.equals(expected.schema, check_metadata=True)


def test_another_document_of_a_source_is_not_meant(tmp_path: Path) -> None:
    pairs = [((1, 0), (2, 0), 0.875), ((1, 1), (2, 0), 0.9375)]
    table = DuplicateTable(write(tmp_path / "d.parquet", pairs))
    left = table.without(np.array([], np.uint64), np.array([[1, 0], [2, 5]], np.uint64))
    assert left["similarity"].to_pylist() == [0.9375]


def test_pairs_stand_in_the_order_of_keys_shorter_ones_first(tmp_path: Path) -> None:
    pairs = [((9, 0), (10, 0), 1.0), ((9, 0), (100, 0), 1.0), ((9, 0), (11, 3), 1.0)]
    table = DuplicateTable(write(tmp_path / "d.parquet", pairs))
    left = table.without(np.array([9], np.uint64), np.empty((0, 2), np.uint64))
    ends = [left[f"source_id_{side}"].to_pylist() for side in "ab"]
    assert ends == [[10, 10], [11, 100]]
    assert left["doc_index_b"].to_pylist() == [3, 0]
