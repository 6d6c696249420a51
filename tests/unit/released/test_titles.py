"""Titles in each form, and everything that is none of them."""

import contextlib
import json
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nulls_dist.errors import InputError
from nulls_dist.released.source_table import build_source_table
from nulls_dist.released.titles import read_titles
from tests.released_model import TITLES

MAPPINGS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**40), min_size=1
)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@settings(max_examples=60)
@given(mapping=MAPPINGS, indent=st.sampled_from([None, 0, 3]), is_ascii=st.booleans())
def test_json_is_read_as_json_reads_it(mapping, indent, is_ascii, tmp_path_factory):
    text = json.dumps(mapping, indent=indent, ensure_ascii=is_ascii)
    path = write(tmp_path_factory.mktemp("titles"), "titles.json", text)
    assert list(read_titles(path)) == list(mapping.items())


@settings(max_examples=60)
@given(mapping=MAPPINGS, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_pickled_dict_is_read_as_pickle_reads_it(mapping, protocol, tmp_path_factory):
    content = pickle.dumps(mapping, protocol)
    path = write(tmp_path_factory.mktemp("titles"), "titles.pkl", content)
    assert list(read_titles(path)) == list(mapping.items())


def test_text_has_one_title_per_line(tmp_path):
    path = write(tmp_path, "titles.txt", b"\xef\xbb\xbfOne\r\nTwo, really\r\nThree")
    assert list(read_titles(path)) == [("One", 0), ("Two, really", 1), ("Three", 2)]


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1]", "one JSON object"),
        ("a.json", "{}", 'byte 1: not "TITLE": INDEX'),
        ("a.json", '{"a": 1', "not"),
        ("a.json", '{"a": 1,}', "not"),
        ("a.json", '{"a": -1}', "not"),
        ("a.json", '{"a": 1.5}', "not"),
        ("a.json", '{"a": "1"}', "not"),
        ("a.json", '{"a": {"b": 1}}', "not"),
        ("a.json", '{"a": 1} x', "text after the object"),
        ("a.json", '{"a\\x": 1}', "not a JSON string"),
        ("a.json", b'{"\xff": 1}', "not a JSON string"),
        ("a.json", '{"' + "a" * 100_000, "not"),
        ("a.pkl", pickle.dumps({"a": Hostile()}), "has no place in a pickle of a dict"),
        ("a.pkl", pickle.dumps([("a", 1)]), "EMPTY_LIST has no place"),
        ("a.pkl", pickle.dumps({"a": 1.5}), "BINFLOAT has no place"),
        ("a.pkl", pickle.dumps({"a": True}), "NEWTRUE has no place"),
        ("a.pkl", pickle.dumps({"a": True}, 0), "INT has no place"),
        ("a.pkl", pickle.dumps({"a": {"b": 1}}), "has no place"),
        ("a.pkl", pickle.dumps({1: "a"}), "BININT1 has no place"),
        ("a.pkl", pickle.dumps("a"), "'a' has no whole number"),
        ("a.pkl", pickle.dumps({"a": 1})[:-6], "not a whole pickle"),
        ("a.pkl", b"\xff\xff", "not a whole pickle"),
        ("a.pkl", 2 * pickle.dumps({"a": 1}, 2), "more follows after the pickle"),
        ("a.txt", b"One\n\xff\n", "line 2: not UTF-8"),
        ("a.txt", "One\n\nTwo", "titles must not be empty"),
        ("a.txt", "", "holds no title"),
        ("a.pkl", pickle.dumps({}), "holds no title"),
        ("a.pkl", pickle.dumps({"a": -4}), "whole numbers from 0"),
        ("a.pkl", pickle.dumps({"a": 2**70}), "whole numbers from 0"),
        ("a.json", '{"a": 1, "b": 1}', "index 1 occurs twice"),
        ("a.json", '{"a": 1, "a": 2}', "title 'a' occurs twice"),
        ("a.json", '{"\\ud800": 1}', "no UTF-8 form"),
        ("a.json", '{"a": 2147483584}', "2147483583 is the last one whose id"),
    ],
)
def test_anything_else_is_refused_and_nothing_runs(tmp_path, capsys, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        build_source_table(path, vocab_size=64, id_dtype="int32")
    assert str(path) in str(refused.value)
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        list(read_titles(tmp_path / "none.json"))


@settings(max_examples=100)
@given(content=st.binary(min_size=1, max_size=60), suffix=st.sampled_from(["json", "pkl", "txt"]))
def test_no_bytes_lead_to_another_error(content, suffix, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("titles"), f"a.{suffix}", content)
    with contextlib.suppress(InputError):
        build_source_table(path, vocab_size=64, id_dtype="int64")


def test_rows_are_sorted_by_index_whatever_the_order(tmp_path):
    path = write(tmp_path, "a.json", json.dumps(TITLES))
    table = build_source_table(path, vocab_size=64, id_dtype="int32")
    assert table.column("index").to_pylist() == sorted(TITLES.values())
    names = {index: title for title, index in TITLES.items()}
    assert table.column("title").to_pylist() == [names[index] for index in sorted(names)]
