"""Dumps of any schema and encoding are read; damage is an error that names the place."""

import bz2
from pathlib import Path

import pytest

import data_prep.mediawiki
from data_prep.documents import Alias, Document, Skipped
from data_prep.mediawiki import Dump
from nulls_dist.errors import InputError

SITE = """<siteinfo><dbname>testwiki</dbname><base>https://test.org/wiki/Main_Page</base>
<namespaces><namespace key="-2">Media</namespace><namespace key="0" />
<namespace key="1">Talk</namespace><namespace key="6">File</namespace></namespaces></siteinfo>"""


def page(
    title: str,
    key: int,
    text: str = "Some text.",
    *,
    ns: str | None = "0",
    extra: str = "",
    model: str = "<model>wikitext</model>",
) -> str:
    namespace = "" if ns is None else f"<ns>{ns}</ns>"
    return (
        f"<page><title>{title}</title>{namespace}<id>{key}</id>{extra}<revision><id>{key}1</id>"
        f"<timestamp>2020-01-0{key}T00:00:00Z</timestamp>{model}<text>{text}</text></revision>"
        "</page>"
    )


def dump(*pages: str, site: str = SITE, version: str = "0.10") -> str:
    url = f"http://www.mediawiki.org/xml/export-{version}/"
    return f'<mediawiki xmlns="{url}" version="{version}">{site}{"".join(pages)}</mediawiki>'


def write(folder: Path, content: bytes) -> Path:
    path = folder / "dump"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", ["0.3", "0.6", "0.8", "0.9", "0.10", "0.11"])
@pytest.mark.parametrize("pack", [lambda content: content, bz2.compress], ids=["plain", "bz2"])
def test_every_field_of_an_article_is_read(tmp_path: Path, version: str, pack) -> None:
    content = dump(page("K&#246;ln &amp; Bonn?", 7, "a &lt;b&gt;"), version=version).encode()
    path = write(tmp_path, pack(content))
    opened = Dump(path)
    assert opened.site.dbname == "testwiki"
    assert list(opened.items()) == [
        Document(
            source_key="7",
            doc_index=0,
            title="K\u00f6ln & Bonn?",
            text="a <b>",
            rev_id=71,
            timestamp="2020-01-07T00:00:00Z",
            url="https://test.org/wiki/K%C3%B6ln_%26_Bonn%3F",
            licence="CC BY-SA 3.0",
        )
    ]


def test_encoding_is_read_from_the_bytes(tmp_path: Path) -> None:
    content = '<?xml version="1.0" encoding="UTF-16"?>' + dump(page("\u0416", 1))
    (item,) = Dump(write(tmp_path, content.encode("utf-16"))).items()
    assert isinstance(item, Document)
    assert item.title == "\u0416"


def test_concatenated_bz2_streams_are_one_dump(tmp_path: Path) -> None:
    whole = dump(page("A", 1), page("B", 2)).encode()
    parts = [whole[:400], whole[400:500], whole[500:]]
    path = write(tmp_path, b"".join(map(bz2.compress, parts)))
    assert [item.title for item in Dump(path).items() if isinstance(item, Document)] == ["A", "B"]


def test_missing_siteinfo_leaves_name_and_url_empty(tmp_path: Path) -> None:
    opened = Dump(write(tmp_path, dump(page("A", 1), site="").encode()))
    (item,) = opened.items()
    assert opened.site.dbname == ""
    assert isinstance(item, Document)
    assert item.url == ""


def test_last_revision_counts(tmp_path: Path) -> None:
    old = "<revision><id>1</id><text>old</text></revision>"
    (item,) = Dump(write(tmp_path, dump(page("A", 1, "new", extra=old)).encode())).items()
    assert isinstance(item, Document)
    assert (item.text, item.rev_id) == ("new", 11)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (page("Talk:A", 2, ns="1"), "not in namespace 0"),
        (page("Talk:A", 2, ns=None), "not in namespace 0"),
        (page("A.js", 2, model="<model>javascript</model>"), "not wikitext"),
        (page("A", 2, "  "), "deleted or empty text"),
        (
            page("A", 2).replace("<text>", '<text deleted="deleted">'),
            "deleted or empty text",
        ),
        ("<page><title>A</title><ns>0</ns><id>2</id></page>", "no revision"),
    ],
)
def test_pages_that_are_not_articles_are_skipped_with_a_reason(
    tmp_path: Path, odd: str, reason: str
) -> None:
    items = list(Dump(write(tmp_path, dump(odd, page("B", 3)).encode())).items())
    assert items[0] == Skipped(reason=reason)
    assert isinstance(items[1], Document)


def test_article_with_a_colon_and_without_ns_is_an_article(tmp_path: Path) -> None:
    (item,) = Dump(write(tmp_path, dump(page("2001: A Film", 1, ns=None)).encode())).items()
    assert isinstance(item, Document)


def test_redirect_is_an_alias_whatever_its_text_says(tmp_path: Path) -> None:
    redirect = page("B", 2, "#WEITERLEITUNG [[A]]", extra='<redirect title="A &amp; C" />')
    items = list(Dump(write(tmp_path, dump(page("A", 1), redirect).encode())).items())
    assert items[1] == Alias(name="B", target_title="A & C")


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda good: bz2.compress(good)[:-20], "byte"),
        (lambda good: bz2.compress(good)[:40] + b"????" + bz2.compress(good)[44:], "byte"),
        (lambda good: good[:-30], "line 3"),
        (lambda good: good.replace(b"</title>", b"</name>"), "line 3"),
        (lambda good: b"", "line 1"),
        (lambda good: b"<html><body>404</body></html>", "<html>, not <mediawiki>"),
        (lambda good: b"<!doctype html><p>404<br>", "line 1"),
        (lambda good: dump().encode(), "no article"),
        (lambda good: good.replace(b"<id>1</id>", b""), "lacks a title or an id"),
        (lambda good: good.replace(b"<title>A</title>", b""), "lacks a title or an id"),
        (lambda good: good.replace(b"Some text", b"Some\0text"), "line 3"),
        (lambda good: good.replace(b"<id>11</id>", b"<id>x</id>"), "revision id 'x'"),
        (lambda good: good.replace(b"<id>11</id>", b"<id>-1</id>"), "revision id '-1'"),
        (lambda good: good.replace(b">11<", b">%d<" % 10**20), "revision id '1000"),
        (lambda good: good.replace(b'key="6"', b'key="six"'), "a <namespace> has no number"),
    ],
    ids=[
        *("cut", "flipped", "cut-xml", "bad-xml", "empty", "html", "html5", "no-page", "no-id"),
        *("no-title", "nul", "revision", "negative", "too-large", "namespace"),
    ],
)
def test_damage_is_an_error_that_names_file_and_place(tmp_path: Path, damage, place: str) -> None:
    path = write(tmp_path, damage(dump(page("A", 1)).encode()))
    with pytest.raises(InputError) as error:
        list(Dump(path).items())
    assert str(path) in str(error.value)
    assert place in str(error.value)


@pytest.mark.parametrize(
    "bomb",
    [
        dump(page("A", 1, "a" * 5000)),
        dump(page("A", 1), site="<siteinfo><dbname>" + "a" * 5000 + "</dbname></siteinfo>"),
        dump(page("A", 1)).replace("<siteinfo>", "<!--" + "a" * 5000 + "--><siteinfo>"),
    ],
    ids=["text", "siteinfo", "comment"],
)
def test_a_bomb_ends_the_reading_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    monkeypatch.setattr(data_prep.mediawiki, "MAX_ELEMENT_BYTES", 4000)
    with pytest.raises(InputError, match="more than 4000 bytes in one element"):
        list(Dump(write(tmp_path, bz2.compress(bomb.encode()))).items())


@pytest.mark.parametrize(
    ("bomb", "limit"),
    [
        (b"a" * 40_000_000, "bytes in one element"),
        (b"<a/>" * 200_000, "elements in one"),
        (b"<a>" * 200_000, "elements in one"),
        pytest.param(b"<a " + b"a" * 17_000_000, "bytes in one element", marks=pytest.mark.slow),
    ],
    ids=["text", "elements", "depth", "tag"],
)
def test_a_bomb_of_real_size_ends_soon(tmp_path: Path, bomb: bytes, limit: str) -> None:
    before, after = dump(page("A", 1)).encode().split(b"</revision>")
    path = write(tmp_path, bz2.compress(before + bomb + after))
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=f"more than [0-9]+ {limit}"):
        list(Dump(path).items())


def test_entities_do_not_multiply(tmp_path: Path) -> None:
    entities = "".join(
        f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 12)
    )
    head = f'<!DOCTYPE mediawiki [<!ENTITY e0 "{"a" * 100}">{entities}]>'
    with pytest.raises(InputError, match="amplification"):
        list(Dump(write(tmp_path, (head + dump(page("A", 1, "&e11;"))).encode())).items())


def test_a_long_history_does_not_count_as_one_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "".join(
        f"<revision><id>{number}</id><text>{'old ' * 500}</text></revision>"
        for number in range(200)
    )
    monkeypatch.setattr(data_prep.mediawiki, "MAX_ELEMENT_BYTES", 100_000)
    (item,) = Dump(write(tmp_path, dump(page("A", 1, "new", extra=old)).encode())).items()
    assert isinstance(item, Document)
    assert item.text == "new"


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Dump(tmp_path / "absent.xml")


def test_real_english_excerpt(test_data: Path) -> None:
    opened = Dump(test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2")
    items = list(opened.items())
    articles = [item for item in items if isinstance(item, Document)]
    aliases = [item for item in items if isinstance(item, Alias)]
    assert opened.site.dbname == "enwiki"
    assert len(articles) == 88
    assert len(aliases) + sum(isinstance(item, Skipped) for item in items) == 100
    assert Alias(name="AccessibleComputing", target_title="Computer accessibility") in aliases
    alabama = next(item for item in articles if item.title == "Alabama")
    assert alabama.source_key == "303"
    assert alabama.url == "https://en.wikipedia.org/wiki/Alabama"


def test_real_utf16_dump(test_data: Path) -> None:
    opened = Dump(test_data / "dump" / "edge" / "gensim_bgwiki_shortened.xml.bz2")
    articles = [item for item in opened.items() if isinstance(item, Document)]
    assert opened.site.dbname == "bgwiki"
    assert articles[0].source_key == "558"
    assert "\u043a\u0430\u043b\u0435\u043d\u0434\u0430\u0440" in articles[0].text


def test_real_dump_without_siteinfo(test_data: Path) -> None:
    opened = Dump(test_data / "dump" / "edge" / "gensim_enwiki_table_markup.xml.bz2")
    assert opened.site.dbname == ""
    assert sum(isinstance(item, Document) for item in opened.items()) == 5


def test_real_history_gives_the_last_revision(test_data: Path, tmp_path: Path) -> None:
    packed = test_data / "dump" / "edge" / "wmf_simplewiki_sample_history.xml.bz2"
    with pytest.raises(InputError, match="no article"):
        list(Dump(packed).items())
    content = bz2.decompress(packed.read_bytes())
    path = write(tmp_path, content.replace(b"<ns>2</ns>", b"<ns>0</ns>"))
    items = list(Dump(path).items())
    assert len(items) == content.count(b"<page>")
    last_ids = [
        int(chunk.rpartition(b"<revision>")[2].split(b"<id>")[1].split(b"<")[0])
        for chunk in content.split(b"</page>")[:-1]
    ]
    documents = [item for item in items if isinstance(item, Document)]
    assert documents
    assert {item.rev_id for item in documents} <= set(last_ids)
