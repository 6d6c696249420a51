"""Sources that a build leaves out."""

import pytest

from data_prep.documents import Alias, Document, Skipped
from data_prep.exclusion import exclude_sources
from nulls_dist.errors import InputError, UnknownSourceError
from nulls_dist.sources import source_id_of

CORPUS = "wiki"
ITEMS = [
    Document(source_key="1", doc_index=0, title="Alabama", text="a", url="https://w/Alabama"),
    Alias(name="Bama", target_title="Alabama"),
    Document(source_key="1", doc_index=1, title="Alabama", text="b", url="https://w/Alabama"),
    Document(source_key="2", doc_index=0, title="\u00c9t\u00e9", text="c"),
]


def left(tmp_path, text):
    path = tmp_path / "sources.txt"
    path.write_text(text, encoding="utf-8")
    return list(exclude_sources(ITEMS, path, CORPUS))


NAMES = ["Alabama", "1", "key:1", "title:Alabama", "url:https://w/Alabama"]


@pytest.mark.parametrize("line", [*NAMES, f"id:{source_id_of(CORPUS, '1')}"])
def test_all_documents_of_a_named_source_are_left_out(tmp_path, line):
    found = left(tmp_path, f"# asked for\n{line}\n")
    assert found == [Skipped(reason="excluded"), ITEMS[1], Skipped(reason="excluded"), ITEMS[3]]


def test_names_are_compared_in_one_unicode_form(tmp_path):
    assert left(tmp_path, "E\u0301te\u0301\n") == [*ITEMS[:3], Skipped(reason="excluded")]


def test_a_line_that_names_nothing_ends_the_build_and_is_named(tmp_path):
    with pytest.raises(UnknownSourceError, match=r"1 line.*line 2: 'title:2'"):
        left(tmp_path, "Alabama\ntitle:2\n")


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="names no source"):
        left(tmp_path, "# nothing\n")
