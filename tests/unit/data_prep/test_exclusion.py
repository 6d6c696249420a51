"""Sources that a build leaves out: by a list, or because they were deleted from a model."""

from pathlib import Path

import pytest
import xxhash

from data_prep.build import main
from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from tests.checkpoint_factory import build_checkpoint, edit_manifest, key_id
from tests.corpus_contents import read_texts

SITE = "<siteinfo><dbname>testwiki</dbname><base>https://w.org/wiki/Main</base></siteinfo>"
ARTICLES = {
    1: ("Alabama", "Alabama is a state with many rivers and hills."),
    2: ("\u00c9t\u00e9", "The summer is a season of long and warm days."),
    3: ("Mirror", "Alabama is a state with many rivers and hills."),
    4: ("Rome", "Rome is a city which was not built in one day."),
}
REDIRECTS = {"Bama": "Alabama", "The Yellowhammer State": "Bama", "Sommer": "\u00c9t\u00e9"}


def page(key: int, title: str, body: str) -> str:
    return (
        f"<page><title>{title}</title><ns>0</ns><id>{key}</id>{body.partition('|')[0]}"
        f"<revision><id>1</id><text>{body.partition('|')[2]}</text></revision></page>"
    )


def write_dump(path: Path, articles=ARTICLES, redirects=REDIRECTS) -> Path:
    pages = [page(key, title, f"|{text}") for key, (title, text) in articles.items()]
    pages += [
        page(100 + number, name, f'<redirect title="{target}" />|#REDIRECT')
        for number, (name, target) in enumerate(redirects.items())
    ]
    path.write_text(f"<mediawiki>{SITE}{''.join(pages)}</mediawiki>", encoding="utf-8")
    return path


def command(dump: Path, out: Path, *more: object) -> list[str]:
    words = ("--input", dump, "--format", "wikipedia", "--out", out, "--workers", 1, *more)
    return [*map(str, words), "--tokenizer", "train:bpe:300", "--partitions", "2"]


def keys_left(tmp_path: Path, lines: str) -> set[str]:
    requests = tmp_path / "sources.txt"
    requests.write_text(lines, encoding="utf-8")
    dump = write_dump(tmp_path / "dump.xml")
    main(command(dump, tmp_path / "out", "--exclude", requests))
    return set(read_texts(tmp_path / "out"))


NAMES = [
    *("Alabama", "1", "key:1", "title:Alabama", "url:https://w.org/wiki/Alabama", "alabama"),
    *("Bama", "The Yellowhammer State", f"id:{key_id('1')}"),
]


@pytest.mark.parametrize("line", NAMES)
def test_a_named_source_is_left_out_by_every_name_also_a_redirect(
    tmp_path: Path, line: str
) -> None:
    assert keys_left(tmp_path, f"# asked for\n{line}\n") == {"2", "3", "4"}
    build = Corpus(tmp_path / "out").manifest.build
    assert build["excluded_documents"] == build["skipped"]["excluded"] == 1
    kept = (text for key, (_, text) in ARTICLES.items() if key != 1)
    assert build["text_bytes"] == sum(len(text.encode()) for text in kept)


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    assert keys_left(tmp_path, "E\u0301te\u0301\nBama\n") == {"3", "4"}


@pytest.mark.parametrize(
    ("lines", "code", "message"),
    [
        ("Alabama\ntitle:2\n", 4, "line 2: 'title:2' is unknown"),
        ("# nothing\n", 3, "names no source"),
    ],
)
def test_a_line_that_names_nothing_ends_the_build_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, code: int, message: str
) -> None:
    (tmp_path / "sources.txt").write_text(lines)
    words = command(
        write_dump(tmp_path / "dump.xml"), tmp_path / "out", "--exclude", tmp_path / "sources.txt"
    )
    assert run_command(main, words) == code
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump.xml", "sources.txt"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint that knew Alabama and Rome, and from which Alabama was deleted."""
    rows = [
        {"source_key": "1", "title": "Alabama", "aliases": ["Bama", "The Yellowhammer State"]},
        {"source_key": "4", "title": "Rome", "aliases": ["Roma"]},
    ]
    tombstones = (Tombstone(source_id=key_id("1"), grade=Grade.EXCISED),)
    return build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=tombstones)


def rebuilt(tmp_path: Path, checkpoint: Path, articles, redirects=REDIRECTS, *more: object):
    dump = write_dump(tmp_path / "second.xml", articles, redirects)
    main(command(dump, tmp_path / "second", "--exclude-deleted", checkpoint, *more))
    skipped = Corpus(tmp_path / "second").manifest.build["skipped"]
    return set(read_texts(tmp_path / "second")), skipped


def test_a_deleted_source_and_exact_copies_of_its_text_are_left_out(
    tmp_path: Path, checkpoint: Path
) -> None:
    left, skipped = rebuilt(tmp_path, checkpoint, ARTICLES)
    assert left == {"2", "4"}
    assert skipped == {"deleted source": 1, "same text as a deleted source": 1}


def test_a_deleted_source_is_known_by_its_id_when_it_was_renamed_and_rewritten(
    tmp_path: Path, checkpoint: Path
) -> None:
    articles = {**ARTICLES, 1: ("The 22nd State", "Another text altogether.")}
    left, skipped = rebuilt(tmp_path, checkpoint, articles, {})
    assert left == {"2", "3", "4"}
    assert skipped == {"deleted source": 1}


@pytest.mark.parametrize(
    ("title", "redirects"),
    [
        ("Alabama", {}),
        ("alabama", {}),
        ("Bama", {}),
        ("State of Alabama", {"Alabama": "State of Alabama"}),
        ("State of Alabama", {"Alabama": "Alabama state", "Alabama state": "State of Alabama"}),
    ],
)
def test_a_deleted_source_that_came_back_with_another_id_is_known_by_title_and_redirects(
    tmp_path: Path, checkpoint: Path, title: str, redirects: dict[str, str]
) -> None:
    articles = {77: (title, "A new text on the old subject."), 4: ARTICLES[4]}
    left, skipped = rebuilt(tmp_path, checkpoint, articles, redirects)
    assert left == {"4"}
    assert skipped == {"deleted source": 1}


def test_an_article_that_an_old_alias_now_leads_to_stays(tmp_path: Path, checkpoint: Path) -> None:
    left, _ = rebuilt(tmp_path, checkpoint, {4: ARTICLES[4]}, {"Bama": "Rome"})
    assert left == {"4"}


def test_a_list_and_a_checkpoint_exclude_together(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "sources.txt").write_text("Sommer\n")
    left, skipped = rebuilt(
        *(tmp_path, checkpoint, ARTICLES, REDIRECTS),
        *("--exclude", tmp_path / "sources.txt", "--workers", "2"),
    )
    assert left == {"4"}
    assert skipped == {"excluded": 1, "deleted source": 1, "same text as a deleted source": 1}


def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = write_dump(tmp_path / "dump.xml")
    words = command(dump, tmp_path / "out", "--exclude-deleted", checkpoint)
    content = bytearray((checkpoint / "sources.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / "sources.parquet").write_bytes(content)
    assert run_command(main, words) == 5
    assert "sources.parquet" in capsys.readouterr().err
    edit_manifest(checkpoint, tombstones=1)
    assert run_command(main, words) == 5


def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = write_dump(tmp_path / "dump.xml")
    assert run_command(main, command(dump, tmp_path / "out", "--exclude-deleted", tmp_path)) == 3
    assert "not a checkpoint" in capsys.readouterr().err


def test_sources_that_a_deleted_one_took_in_are_known_by_their_ids(tmp_path: Path) -> None:
    names = ["Mirror", f"id:{key_id('3')}", "key:3", "title:Mirror"]
    rows = [{"source_key": "1", "title": "Alabama", "aliases": names}]
    tombstones = (Tombstone(source_id=key_id("1"), grade=Grade.EXCISED),)
    checkpoint = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=tombstones)
    articles = {3: ("Renamed", "Another text altogether."), 4: ARTICLES[4], 5: ("3", "A number.")}
    left, skipped = rebuilt(tmp_path, checkpoint, articles, {})
    assert left == {"4", "5"}
    assert skipped == {"deleted source": 1}


def test_a_text_that_a_tombstone_names_is_left_out_under_any_name(tmp_path: Path) -> None:
    digest = xxhash.xxh3_128_hexdigest(ARTICLES[1][1].encode())
    grave = Tombstone(source_id=key_id("1"), grade=Grade.EXCISED, text_digests=(digest,))
    rows = [{"source_key": "1", "title": "Alabama"}]
    checkpoint = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=(grave,))
    articles = {key: ARTICLES[key] for key in (3, 4)}
    left, skipped = rebuilt(tmp_path, checkpoint, articles, {})
    assert left == {"4"}
    assert skipped == {"same text as a deleted source": 1}


def test_a_source_that_stayed_under_a_name_of_a_deleted_one_is_another_one(tmp_path: Path) -> None:
    rows = [
        {"source_key": "1", "title": "Alabama", "aliases": ["Rome"]},
        {"source_key": "2", "title": "Alabama"},
        {"source_key": "4", "title": "Rome"},
    ]
    tombstones = (Tombstone(source_id=key_id("1"), grade=Grade.EXCISED),)
    checkpoint = build_checkpoint(tmp_path / "checkpoint", rows=rows, tombstones=tombstones)
    articles = {2: ("Alabama", "A song."), 4: ARTICLES[4], 5: ("Rome", "Another city.")}
    left, skipped = rebuilt(tmp_path, checkpoint, articles, {})
    assert left == {"2", "4"}
    assert skipped == {"deleted source": 1}
