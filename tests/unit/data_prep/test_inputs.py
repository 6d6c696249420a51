"""Rows and files through the whole path, from the command line to a corpus that reads back."""

import json
import lzma
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.build import main
from data_prep.verify import main as verify
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.sources import source_id_of
from tests.corpus_contents import read_source_rows, read_texts

OPTIONS = ["--tokenizer", "train:bpe:300", "--partitions", "4", "--workers", "1"]


def command(kind: str, given: object, out: Path, *more: str) -> list[str]:
    return ["--format", kind, "--input", str(given), "--out", str(out), *OPTIONS, *more]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of 30 articles by 4 publishers, some rows of no use."""
    folder = tmp_path / "news"
    (folder / "2024").mkdir(parents=True)
    rows: list[dict] = [
        {"id": number, "publisher": f"P{number % 4}", "body": f"Article {number} of many."}
        for number in range(30)
    ]
    rows[5]["publisher"] = None
    rows[6]["body"] = ""
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "2024" / "a.jsonl").write_text("".join(lines[:20]))
    (folder / "b.jsonl").write_text("".join(lines[20:]))
    (folder / "notes.txt").write_text("not one of the shards")
    return folder


def test_a_source_key_makes_one_source_of_many_rows(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    fields = ["--text-field", "body", "--source-key", "publisher", "--name", "news"]
    main(command("jsonl", shards, out, *fields))
    verify([str(out)])
    kept = [number for number in range(30) if number not in (5, 6)]
    expected = {
        f"P{rest}": [f"Article {number} of many." for number in kept if number % 4 == rest]
        for rest in range(4)
    }
    assert read_texts(out) == expected
    for key, row in read_source_rows(out).items():
        assert row["source_id"] == source_id_of("news", key)
        assert row["title"] == key
        assert row["num_documents"] == len(expected[key])
    assert Corpus(out).manifest.build["skipped"] == {
        "no field 'publisher', which names the source": 1,
        "empty text": 1,
    }


def test_the_limit_holds_across_parts(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    main(command("jsonl", shards, out, "--text-field", "body", "--limit", "22"))
    kept = [number for number in range(30) if number != 6][:22]
    texts = {str(number): [f"Article {number} of many."] for number in kept}
    assert read_texts(out) == texts
    size = sum(len(text) for (text,) in texts.values())
    assert Corpus(out).manifest.build["text_bytes"] == size


def test_books_are_sources_known_by_their_place(tmp_path: Path) -> None:
    books = {"austen/emma.txt": "Emma Woodhouse, handsome.", "moby.txt": "Call me Ishmael."}
    for name, text in books.items():
        (tmp_path / "books" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "books" / name).write_text(text)
    main(command("text", tmp_path / "books", tmp_path / "out"))
    verify([str(tmp_path / "out")])
    assert read_texts(tmp_path / "out") == {name: [text] for name, text in books.items()}
    assert Corpus(tmp_path / "out").manifest.corpus == "books"


def test_a_name_that_was_not_given_is_said(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    main(command("jsonl", shards, tmp_path / "out", "--text-field", "body"))
    assert "--name news" in caplog.text


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("jsonl", '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', "'1' occurs twice"),
        ("jsonl", '{"id": 1, "text": ""}\n{"id": 2}\n', "holds no document; left out: {'empty"),
        ("jsonl", "", "holds no document"),
        ("jsonl", "<html>404</html>", "line 1: not a JSON object"),
        ("parquet", "<html>404</html>", "not readable as Parquet"),
        ("text", "", "holds no document; left out: {'empty text': 1}"),
        ("text", "<html>404</html>", "HTML, not text"),
    ],
)
def test_an_input_without_documents_is_an_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, content: str, message: str
) -> None:
    path = tmp_path / f"in.{kind.replace('text', 'txt')}"
    path.write_text(content)
    assert run_command(main, command(kind, path, tmp_path / "out")) == 3
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_paragraphs_of_real_articles_in_parquet_become_documents_of_their_articles(
    test_data: Path, tmp_path: Path
) -> None:
    with lzma.open(test_data / "qa" / "articles_qa.jsonl.xz", "rt", encoding="utf-8") as file:
        articles = [json.loads(line) for line in file]
    rows = [
        {"article": article["source"], "text": text}
        for article in articles
        for text in article["paragraphs"]
    ]
    random.Random(0).shuffle(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "qa.parquet", row_group_size=100)
    options = ["--source-key", "article", "--name", "qa", "--tokenizer", "train:bpe:2000"]
    main(command("parquet", tmp_path / "qa.parquet", tmp_path / "out", *options))
    expected: dict[str, list[str]] = {}
    for row in rows:
        expected.setdefault(row["article"], []).append(row["text"].strip())
    assert len(expected) > 30
    assert read_texts(tmp_path / "out") == expected
