"""Names find their sources: every spelling, every ambiguity, all or nothing."""

import unicodedata

import pyarrow.parquet as pq
import pytest

from nulls_dist.data import source_table
from nulls_dist.data.source_table import SourceTable
from nulls_dist.errors import UnknownSourceError
from nulls_dist.source_list import parse_request
from nulls_dist.unlearn.resolutions import Outcome, check_resolved, matched_ids
from nulls_dist.unlearn.resolve import resolve_all, resolve_requests
from tests.checkpoint_factory import key_id, source_rows, write_source_table

COMPOSED = unicodedata.normalize("NFC", "Z\u00fcrich M\u00fcller")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)

ROWS = [
    {"source_key": "12", "title": "Anarchism", "url": "https://en.wikipedia.org/wiki/Anarchism"},
    {"source_key": "39", "title": "Albedo", "aliases": ["Reflectivity", "White ratio"]},
    {"source_key": "777", "title": "1984"},
    {"source_key": "1984", "title": "Year of the rat"},
    {"source_key": "c", "title": COMPOSED, "url": "https://x.org/wiki/Z%C3%BCrich_M%C3%BCller"},
    {"source_key": "d", "title": "Line\u2028break"},
    {"source_key": "e", "title": "Twin"},
    {"source_key": "f", "title": "Twin"},
    {"source_key": "g", "title": "iPod"},
    {"source_key": "h", "title": "IPod"},
    {"source_key": "i", "title": "IPod Nano"},
    {"source_key": "j", "title": "Mercury", "aliases": ["Quicksilver"]},
    {"source_key": "k", "title": "Quicksilver"},
    {"source_key": "l", "title": ""},
    {"source_key": "folder/b.txt", "title": "b"},
    {"source_key": "A_B", "title": "Underscore key"},
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "sources.parquet"
    write_source_table(path, ROWS)
    return SourceTable(path)


def resolve(table, *lines):
    requests = [parse_request(text, line) for line, text in enumerate(lines, start=1)]
    return resolve_requests(table, requests)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("Anarchism", "12"),
        ("anarchism", "12"),
        (" Anarchism\u200b", "12"),
        ("\ufeffAnarchism", "12"),
        ("title:Anarchism", "12"),
        ("12", "12"),
        ("key:12", "12"),
        (f"id:{key_id('12')}", "12"),
        ("https://en.wikipedia.org/wiki/Anarchism", "12"),
        ("http://EN.wikipedia.org/wiki/Anarchism#History", "12"),
        ("url:en.wikipedia.org/wiki/Anarchism", "12"),
        ("url://en.wikipedia.org/wiki/Anarchism", "12"),
        ("Reflectivity", "39"),
        ("white_ratio", "39"),
        ("White\u00a0 ratio", "39"),
        ("title:1984", "777"),
        ("key:1984", "1984"),
        (COMPOSED, "c"),
        (DECOMPOSED, "c"),
        (f"url:https://x.org/wiki/{COMPOSED}", "c"),
        ("url:https://x.org/wiki/Z%c3%bcrich M%C3%BCller", "c"),
        ("url:https://x.org/wiki/Zu%CC%88rich_Mu%CC%88ller", "c"),
        ("Line\u2028break", "d"),
        ("iPod", "g"),
        ("IPod", "h"),
        ("iPod_Nano", "i"),
        ("title:Quicksilver", "k"),
        ("folder/b.txt", "folder/b.txt"),
        ("key:A_B", "A_B"),
    ],
)
def test_line_matches_its_source(table, line, key):
    (found,) = resolve(table, line)
    assert (found.outcome, found.source_id) == (Outcome.MATCHED, key_id(key))


@pytest.mark.parametrize(
    "line",
    [
        "ANARCHISM",
        "ipod",
        "title:12",
        "key:Anarchism",
        "title:Reflectivity",
        "url:Anarchism",
        "url:https://en.wikipedia.org/wiki/anarchism",
        "key:A B",
        "id:12",
        "id:-1",
        "id:0x10",
        "id:\u0661",
        f"id:{(1 << 64) - 1}",
        "id:" + "9" * 5000,
        "id:",
        "title:",
        "_",
        "\u200b",
        "%41narchism",
        "x' OR 1=1 --",
        "a.*",
    ],
)
def test_line_that_names_no_source_is_unknown(table, line):
    (found,) = resolve(table, line)
    assert (found.outcome, found.source_id) == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("1984", ["title of '1984'", "key of 'Year of the rat'"]),
        ("Twin", ["title of 'Twin'"]),
        ("title:twin", ["title of 'Twin'"]),
        ("Quicksilver", ["alias of 'Mercury'", "title of 'Quicksilver'"]),
    ],
)
def test_line_that_names_several_sources_is_ambiguous_and_lists_them(table, line, labels):
    (found,) = resolve(table, line)
    assert (found.outcome, found.source_id) == (Outcome.AMBIGUOUS, None)
    assert all(label in found.detail for label in labels)
    assert "id:" in found.detail


def test_second_line_of_a_source_is_a_duplicate_of_the_first(table):
    found = resolve(table, "Anarchism", "Albedo", "key:12", "id:" + str(key_id("39")))
    assert [entry.outcome for entry in found] == [
        Outcome.MATCHED,
        Outcome.MATCHED,
        Outcome.DUPLICATE,
        Outcome.DUPLICATE,
    ]
    assert "line 1" in found[2].detail
    assert matched_ids(found) == [key_id("12"), key_id("39")]


def test_unknown_title_gets_suggestions(table):
    (found,) = resolve(table, "Anarchizm")
    assert "did you mean 'Anarchism'" in found.detail


def test_failing_lines_are_all_counted_and_twenty_are_listed(table):
    found = resolve(table, "Albedo", *(f"missing {number}" for number in range(30)))
    with pytest.raises(UnknownSourceError) as caught:
        check_resolved(found, allow_unknown=False)
    text = str(caught.value)
    assert "30 of 31 lines" in text
    assert "line 2: 'missing 0'" in text
    assert "missing 19" in text
    assert "missing 20" not in text
    assert "and 10 more" in text


def test_unknown_lines_may_be_allowed_but_ambiguous_ones_never(table):
    check_resolved(resolve(table, "Albedo", "missing"), allow_unknown=True)
    with pytest.raises(UnknownSourceError, match="1 of 3 lines"):
        check_resolved(resolve(table, "Albedo", "missing", "Twin"), allow_unknown=True)


def test_a_file_gives_its_sources_only_if_every_line_names_one(table, tmp_path):
    path = tmp_path / "sources.txt"
    path.write_text("Albedo\n# a comment\nkey:12\nReflectivity\n")
    assert resolve_all(table, path) == [key_id("39"), key_id("12")]
    path.write_text("Albedo\nmissing\nTwin\n")
    with pytest.raises(UnknownSourceError, match="2 of 3 lines"):
        resolve_all(table, path)


def test_every_title_of_a_table_in_many_pieces_finds_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(source_table, "_BATCH_ROWS", 11)
    rows = [
        {**row, "aliases": [f"alias {number}", f"other {number}"]}
        for number, row in enumerate(source_rows(f"Article {number}" for number in range(500)))
    ]
    write_source_table(tmp_path / "whole.parquet", rows)
    whole = pq.read_table(tmp_path / "whole.parquet")
    pq.write_table(whole, tmp_path / "cut.parquet", row_group_size=7)
    table = SourceTable(tmp_path / "cut.parquet")
    assert len(list(table.batches("title"))) > 1
    found = resolve(table, *(f"article_{number}" for number in range(500)))
    assert [entry.source_id for entry in found] == [key_id(f"k-{n}") for n in range(500)]
    found = resolve(table, *(f"other {number}" for number in range(500)))
    assert [entry.source_id for entry in found] == [key_id(f"k-{n}") for n in range(500)]
