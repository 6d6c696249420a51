"""The benchmark's dumps are dumps, and its parts are measured on what a build reads."""

import bz2
from pathlib import Path

import pytest

from data_prep.benchmark.builds import measure_build
from data_prep.benchmark.parts import measure_parts
from data_prep.benchmark.repeated_dump import read_pages, write_repeated_dump
from data_prep.documents import Alias, Document
from data_prep.mediawiki import Dump
from data_prep.multistream import find_index, list_ranges
from data_prep.verification import verify_corpus
from nulls_dist.errors import InputError, NullsError

HEAD = "<mediawiki><siteinfo><dbname>w</dbname></siteinfo>\n"


def page(key: int) -> str:
    extra = '<redirect title="Page 1" />' if key == 3 else ""
    return (
        f"<page><title>Page {key}</title><ns>0</ns><id>{key}</id>{extra}<revision><id>9</id>"
        f"<contributor><id>7</id></contributor><text>'''Page {key}''' is a [[page]].</text>"
        "</revision></page>\n"
    )


@pytest.fixture
def repeated(tmp_path: Path) -> Path:
    """Eight copies of nine pages, one of which is a redirect."""
    small = tmp_path / "small.xml.bz2"
    content = HEAD + "".join(map(page, range(1, 10))) + "</mediawiki>"
    small.write_bytes(bz2.compress(content.encode()))
    path = tmp_path / "large-multistream.xml.bz2"
    write_repeated_dump(read_pages(small), path, 8)
    return path


def test_a_repeated_dump_has_new_titles_and_ids_in_every_copy_and_a_true_index(
    repeated: Path,
) -> None:
    items = list(Dump(repeated).items())
    documents = [item for item in items if isinstance(item, Document)]
    aliases = [item for item in items if isinstance(item, Alias)]
    assert len({item.source_key for item in documents}) == len(documents) == 64
    assert len({item.title for item in documents}) == 64
    assert len({item.text for item in documents}) == 8
    assert {item.target_title for item in aliases} <= {item.title for item in documents}
    index = find_index(repeated)
    assert index is not None
    assert [item for part in list_ranges(repeated, index) for item in part()] == items


def test_parts_and_builds_of_it_are_measured(repeated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cost = measure_build(repeated, out, tokenizer="train:bpe:300", workers=2)
    assert verify_corpus(out).num_documents == 64
    assert cost.cpu_s > 0
    assert cost.peak_mib > 20
    parts = measure_parts(repeated, out / "tokenizer" / "spm.model")
    assert parts.keys() == {"bz2", "xml", "limits", "cleaning", "tokenising", "signing"}
    assert all(seconds >= 0 for seconds in parts.values())


def test_a_build_that_fails_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(NullsError, match=r"exit code 3:\n(?s:.*)absent\.xml does not exist"):
        measure_build(tmp_path / "absent.xml", tmp_path / "out", tokenizer="train:bpe:300")


@pytest.mark.parametrize(
    ("content", "message"),
    [(HEAD.encode(), "no pages"), (bz2.compress(HEAD.encode())[:-5], "damaged")],
)
def test_what_holds_no_pages_is_not_repeated(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.xml").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_pages(tmp_path / "a.xml")
