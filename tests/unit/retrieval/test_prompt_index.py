"""A text finds the surviving source it is about; a deleted one is never returned."""

import sys

import numpy as np
import pytest

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import ConfigError, InputError, IntegrityError
from nulls_dist.retrieval.checkpoint_index import open_index
from nulls_dist.retrieval.encoder import NgramEncoder, open_encoder
from nulls_dist.retrieval.index_files import build_index
from nulls_dist.retrieval.prompt_index import Stage
from tests.checkpoint_factory import build_checkpoint, key_id

ROWS = [
    {"source_key": "al", "title": "Alabama", "aliases": ["Heart of Dixie"]},
    {"source_key": "st", "title": "Alabama State University"},
    {"source_key": "mr", "title": "Mississippi River", "aliases": ["Old Man River"]},
    {"source_key": "mu", "title": "M\u00fcnchen", "aliases": ["Munich (city)"]},
    {"source_key": "ri", "title": "River"},
    {"source_key": "an", "title": "Anarchism"},
    {"source_key": "wh", "title": "Who's Who?"},
    {"source_key": "no", "title": ""},
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint", rows=ROWS)


@pytest.fixture(scope="module")
def index(checkpoint):
    with open_index(Checkpoint(checkpoint), None, NgramEncoder()) as opened:
        yield opened


def first(index, text):
    found = index.search(text, 5)
    assert [entry.score for entry in found] == sorted((e.score for e in found), reverse=True)
    return found[0].source_id, found[0].stage


@pytest.mark.parametrize(
    ("text", "key", "stage"),
    [
        ("Alabama", "al", Stage.TITLE),
        ("alabama_ ", "al", Stage.TITLE),
        ("Mu\u0308nchen", "mu", Stage.TITLE),
        ("Who's Who?", "wh", Stage.TITLE),
        ("heart of Dixie.", "al", Stage.ALIAS),
        ("Alabama is a state in", "al", Stage.MENTION),
        ("Where is Alabama State University?", "st", Stage.MENTION),
        ("the university of Alabama State", "st", Stage.WORDS),
        ("munich", "mu", Stage.WORDS),
        ("Anarchizm", "an", Stage.SPELLING),
        ("Misissippi Rivr", "mr", Stage.SPELLING),
        ("Mizzissippi river", "mr", Stage.WORDS),
    ],
)
def test_a_text_finds_its_source_and_says_how(index, text, key, stage):
    source_id, found_by = first(index, text)
    assert source_id == key_id(key)
    assert found_by is stage


def test_only_the_whole_name_scores_one(index):
    assert index.search("Heart of Dixie", 1)[0].score == 1.0
    assert index.search("Heart of Dixie", 1)[0].name == "Heart of Dixie"
    assert index.search("Heart of Dixie", 1)[0].title == "Alabama"
    assert 0.5 < index.search("see the Heart of Dixie", 1)[0].score < 1.0


@pytest.mark.parametrize(
    "text",
    ["", " ", "_", '"', "' OR 1=1 --", "NEAR(a b)", "*", "\u2028", "x" * 10_000, "a b " * 500],
)
def test_any_text_is_a_question(index, text):
    assert len(index.search(text, 3)) <= 3


def test_a_source_stands_once_in_the_list(index):
    ids = [entry.source_id for entry in index.search("Alabama, Heart of Dixie, State River", 10)]
    assert len(ids) == len(set(ids)) >= 3


def deleted_in(root, *keys):
    stones = (Tombstone(source_id=key_id(key), grade=Grade.SUPPRESSED) for key in keys)
    return build_checkpoint(
        root, rows=ROWS, tombstones=tuple(sorted(stones, key=lambda stone: stone.source_id))
    )


TEXTS = ["Alabama", "Heart of Dixie", "Alabama is", "dixie heart", "Alabamma", "Mississippi River"]


@pytest.mark.parametrize("built_before", [True, False])
def test_a_deleted_source_is_never_returned(checkpoint, tmp_path, built_before):
    after = deleted_in(tmp_path / "after", "al", "mr")
    builder = checkpoint if built_before else after
    with open_index(Checkpoint(builder), tmp_path / "index", NgramEncoder()):
        pass
    with open_index(Checkpoint(after), tmp_path / "index", NgramEncoder()) as index:
        for text in TEXTS:
            found = {entry.source_id for entry in index.search(text, 10)}
            assert not found & {key_id("al"), key_id("mr")}
            assert found, text


def test_an_index_built_after_a_deletion_does_not_hold_the_name(tmp_path):
    after = deleted_in(tmp_path / "after", "an")
    with open_index(Checkpoint(after), tmp_path / "index", NgramEncoder()):
        pass
    stored = (tmp_path / "index" / "names.sqlite").read_bytes().lower()
    assert b"mississippi" in stored
    assert b"anarchism" not in stored


def test_where_nothing_survives_nothing_is_found(tmp_path):
    after = deleted_in(tmp_path / "after", *(row["source_key"] for row in ROWS))
    with open_index(Checkpoint(after), None, NgramEncoder()) as index:
        assert index.search("Alabama", 5) == []


def test_an_index_of_other_sources_or_another_encoder_is_refused(checkpoint, tmp_path):
    with open_index(Checkpoint(checkpoint), tmp_path / "index", NgramEncoder()):
        pass
    other = build_checkpoint(tmp_path / "other", rows=ROWS[:3])
    with (
        pytest.raises(InputError, match="index of another source table"),
        open_index(Checkpoint(other), tmp_path / "index", NgramEncoder()),
    ):
        pass
    with (
        pytest.raises(InputError, match="built with the encoder ngrams-3-5-256-v1, not lengths"),
        open_index(Checkpoint(checkpoint), tmp_path / "index", Lengths()),
    ):
        pass


def test_a_damaged_index_is_named(checkpoint, tmp_path):
    root = tmp_path / "index"
    with open_index(Checkpoint(checkpoint), root, NgramEncoder()):
        pass
    (root / "names.sqlite").write_bytes(b"no database" * 1000)
    with (
        pytest.raises(IntegrityError, match=r"names\.sqlite"),
        open_index(Checkpoint(checkpoint), root, NgramEncoder()) as index,
    ):
        index.search("Alabama", 1)
    (root / "vectors.npy").write_bytes(b"")
    with (
        pytest.raises(IntegrityError, match="not readable as a prompt index"),
        open_index(Checkpoint(checkpoint), root, NgramEncoder()),
    ):
        pass


def test_no_index_is_left_inside_a_checkpoint_or_half_built(checkpoint, tmp_path):
    with (
        pytest.raises(InputError, match="lies inside"),
        open_index(Checkpoint(checkpoint), checkpoint / "index", NgramEncoder()),
    ):
        pass
    assert not (checkpoint / "index").exists()
    with pytest.raises(ZeroDivisionError):
        build_index(SourceTable(checkpoint / "sources.parquet"), tmp_path / "index", Broken())
    assert list(tmp_path.iterdir()) == []


def test_builds_are_equal_to_the_last_bit(checkpoint, tmp_path):
    table = SourceTable(checkpoint / "sources.parquet")
    for name in ("one", "two"):
        build_index(table, tmp_path / name, NgramEncoder())
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


class Lengths:
    """A plugged-in encoder: texts are alike if they are equally long."""

    name = "lengths"

    def encode(self, texts):
        vectors = np.zeros((len(texts), 32), dtype=np.float32)
        vectors[np.arange(len(texts)), [len(text) % 32 for text in texts]] = 1.0
        return vectors


class Broken:
    name = "broken"

    def encode(self, texts):
        raise ZeroDivisionError


def test_another_encoder_may_be_plugged_in(checkpoint):
    with open_index(Checkpoint(checkpoint), None, Lengths()) as index:
        assert first(index, "zzzzz") == (key_id("ri"), Stage.SPELLING)


def test_a_missing_encoder_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'nulls-dist\[embeddings\]'"):
        open_encoder("some/model")


def test_vectors_of_runs_are_those_of_a_slow_count():
    texts = ["Alabama", "", "a", "\U0001f600 x", "Alabama  STATE"]
    vectors = NgramEncoder().encode(texts)
    assert vectors.shape == (5, 256)
    alone = np.concatenate([NgramEncoder().encode([text]) for text in texts])
    np.testing.assert_array_equal(vectors, alone)
    runs = [slow_runs(text) for text in texts]
    for row, vector in zip(runs, vectors, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(1.0 if row else 0.0)
    shared = len(set(runs[0]) & set(runs[4])) / np.sqrt(len(runs[0]) * len(runs[4]))
    assert vectors[0] @ vectors[4] == pytest.approx(shared, abs=0.25)  # equal but for collisions


def slow_runs(text):
    padded = f" {' '.join(text.casefold().split())} "
    return [
        padded[begin : begin + length]
        for length in (3, 4, 5)
        for begin in range(len(padded) - length + 1)
    ]
