"""The fast ways of folding, comparing and suggesting names agree with slow ones."""

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.source_table import SourceTable
from nulls_dist.source_list import parse_request
from nulls_dist.unlearn import names
from nulls_dist.unlearn.matching import MatchedBy, fingerprints
from nulls_dist.unlearn.resolve import resolve_requests
from nulls_dist.unlearn.suggest import pair_sets, suggest_titles
from tests.checkpoint_factory import source_rows, write_source_table

LETTERS = st.text(alphabet="abA_ \t\u00a0\u200b/:#%41\u00fc\u0308{~`-^!.", max_size=12)
URLS = st.builds("{}{}".format, st.sampled_from(["https://", "http://", "HTTPS://", ""]), LETTERS)


@given(st.lists(LETTERS | st.text(max_size=8)))
def test_a_folded_title_is_what_the_rules_make_of_it(texts):
    texts = [text for text in texts if text.isprintable() or "\t" in text or "\u200b" in text]
    array = pa.array(texts, pa.string())
    folded = names._any_title(array).to_pylist()
    assert names.fold_titles(array).to_pylist() == folded
    assert names.fold_titles(pa.chunked_array([array[:1], array[1:]])).to_pylist() == folded


@given(st.lists(URLS | LETTERS))
def test_a_folded_url_is_what_the_rules_make_of_it(texts):
    array = pa.array(texts, pa.string())
    assert names.fold_urls(array).to_pylist() == names._any_url(array).to_pylist()


@given(st.lists(st.text(max_size=40)), st.integers(0, 3))
def test_equal_strings_have_equal_fingerprints_wherever_they_stand(texts, skipped):
    texts = [text for text in texts if text.encode("utf-8", "ignore").decode() == text]
    whole = fingerprints(pa.array(texts, pa.string()))
    assert whole.tolist() == [int(fingerprints(pa.array([text]))[0]) for text in texts]
    part = pa.array(texts, pa.string())[skipped:]
    assert fingerprints(part).tolist() == whole[skipped:].tolist()


def test_fingerprints_tell_short_strings_apart():
    draws = random.Random(0)
    letters = "abc\0 "
    texts = {"".join(draws.choices(letters, k=draws.randrange(25))) for _ in range(5000)}
    assert len(np.unique(fingerprints(pa.array(sorted(texts))))) == len(texts)


@given(st.lists(st.text(alphabet="abcXYZ \u00fc", max_size=12)), st.integers(0, 3))
def test_pair_sets_are_those_of_each_string_alone(texts, skipped):
    sets = pair_sets(pa.array(texts, pa.string())[skipped:]).tolist()
    assert sets == [slow_pair_set(text) for text in texts[skipped:]]


def slow_pair_set(text):
    content = [byte | 0x20 for byte in text.encode()]
    bits = 0
    for first, second in pairwise([*content, 0]):
        bits |= 1 << ((first * 37 % 256 + second * 101 % 256) % 256 >> 2)
    return bits


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Xnarchism", "Anarchism"),
        ("Anarchizm", "Anarchism"),
        ("ANARCHISM", "Anarchism"),
        ("narchism", "Anarchism"),
        ("Anarchismus", "Anarchism"),
        ("Bnarchost", "Anarchist"),
    ],
)
def test_a_mistake_anywhere_is_suggested_away(tmp_path, name, meant):
    titles = [f"Title {number}" for number in range(2000)] + ["Anarchism", "Anarchist", "", "A"]
    write_source_table(tmp_path / "sources.parquet", source_rows(titles))
    table = SourceTable(tmp_path / "sources.parquet")
    (suggested,) = suggest_titles(table, [name])
    assert suggested[0] == meant
    assert suggest_titles(table, [""]) == [[]]


def test_a_line_says_what_of_the_source_it_names(tmp_path):
    rows = [
        {
            "source_key": "7",
            "title": "Albedo",
            "aliases": ["Whiteness", "key:99"],
            "url": "https://x.org/A",
        }
    ]
    write_source_table(tmp_path / "sources.parquet", rows)
    table = SourceTable(tmp_path / "sources.parquet")
    lines = ["albedo", "Whiteness", "7", "https://x.org/A", f"id:{int(table.source_ids[0])}"]
    lines += ["99", "no"]
    requests = [parse_request(text, line) for line, text in enumerate(lines, start=1)]
    said = [entry.matched_by for entry in resolve_requests(table, requests)]
    assert said == [*MatchedBy, None]
