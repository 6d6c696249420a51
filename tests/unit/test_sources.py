"""Source ids: golden values, one form of a name, nothing without an id of its own."""

import unicodedata

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist import sources
from nulls_dist.errors import InputError
from nulls_dist.sources import NO_SOURCE, normalize_name, source_id_of


@pytest.mark.parametrize(
    ("corpus", "key", "source_id"),
    [
        ("enwiki", "12", 18228563535276957874),
        ("enwiki", "736", 17434417315108521551),
        ("dewiki", "12", 9715609165673260267),
        ("generated", "\u00c5ngstr\u00f6m", 4082337333171217483),
    ],
)
def test_ids_are_frozen_for_ever(corpus, key, source_id):
    assert source_id_of(corpus, key) == source_id
    assert xxhash.xxh3_64_intdigest(corpus.encode() + b"\0" + key.encode()) == source_id


@pytest.mark.parametrize(
    "written", ["\u00e9tude", "e\u0301tude", " \u00e9tude", "e\u0301tude\u00a0\n"]
)
def test_composed_decomposed_and_padded_keys_are_one_source(written):
    assert source_id_of("corpus", written) == source_id_of("corpus", "\u00e9tude")


@pytest.mark.parametrize("other", ["etude", "\u00c9tude", "\u00e9tude 2", "\u00e9tu de"])
def test_other_keys_are_other_sources(other):
    assert source_id_of("corpus", other) != source_id_of("corpus", "\u00e9tude")


def test_the_corpus_name_is_part_of_the_id_and_normalised_too():
    assert source_id_of("a", "1") != source_id_of("b", "1")
    assert source_id_of(" \u00e9tude ", "1") == source_id_of("e\u0301tude", "1")


@given(st.text())
def test_normalising_twice_changes_nothing(name):
    once = normalize_name(name)
    assert normalize_name(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize("key", ["", "  ", "\n\t", "\u00a0"])
def test_an_empty_key_is_refused(key):
    with pytest.raises(InputError, match="'wiki': a source key is empty"):
        source_id_of("wiki", key)


def test_a_key_that_hashes_to_the_id_of_padding_is_refused(monkeypatch):
    monkeypatch.setattr(sources.xxhash, "xxh3_64_intdigest", lambda content: NO_SOURCE)
    with pytest.raises(InputError, match=r"'unlucky'.*reserved for padding"):
        source_id_of("wiki", "unlucky")


def test_a_key_that_is_not_unicode_text_is_refused():
    with pytest.raises(InputError, match="no UTF-8 form"):
        source_id_of("wiki", "half a pair \ud800")
