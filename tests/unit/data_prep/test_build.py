"""Building a corpus through the command line."""

import os
import re
from pathlib import Path

import pytest

from data_prep.build import main
from data_prep.documents import Document
from data_prep.extract import clean_items
from data_prep.parallel_map import WorkerPool
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.source_table import SourceTable
from tests.corpus_contents import digests, read_texts

DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<siteinfo><dbname>testwiki</dbname></siteinfo>
{pages}
<page><title>Redirect</title><ns>0</ns><id>900</id><redirect title="Town 3#History" />
<revision><id>1</id><text>#REDIRECT [[Town 3]]</text></revision></page>
<page><title>Talk:Town 3</title><ns>1</ns><id>901</id>
<revision><id>1</id><text>hello</text></revision></page>
<page><title>Deep</title><ns>0</ns><id>902</id>
<revision><id>1</id><text>{deep}</text></revision></page>
<page><title>Only a box</title><ns>0</ns><id>903</id>
<revision><id>1</id><text>{{{{infobox}}}}</text></revision></page>
</mediawiki>"""


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    pages = "\n".join(
        f"<page><title>Town {key}</title><ns>0</ns><id>{key}</id><revision><id>{key}7</id>"
        f"<text>'''Town {key}''' is a [[town]] of {{{{convert|{key}|km2}}}}.</text>"
        "</revision></page>"
        for key in range(1, 80)
    )
    path = tmp_path / "dump.xml"
    path.write_text(DUMP.format(pages=pages, deep="{{" * 50))
    return path


def wikipedia(dump: Path, out: Path, *more: str) -> list[str]:
    options = ["--format", "wikipedia", "--tokenizer", "train:bpe:320", "--partitions", "4"]
    return ["--input", str(dump), "--out", str(out), *options, "--workers", "1", *more]


def generated(out: Path, *more: str) -> list[str]:
    options = ["--tokenizer", "train:bpe:400", "--partitions", "4", "--workers", "1"]
    size = ["--articles", "40", "--renderings", "2"]
    return [
        "--input",
        "generated",
        "--format",
        "generated",
        "--out",
        str(out),
        *options,
        *size,
        *more,
    ]


def test_dump_becomes_a_corpus_that_reads_back(dump: Path, tmp_path: Path) -> None:
    main(wikipedia(dump, tmp_path / "out"))
    corpus = Corpus(tmp_path / "out")
    sources = SourceTable(tmp_path / "out" / "sources.parquet")
    rows = {row["source_key"]: row for row in sources.table.to_pylist()}
    assert corpus.manifest.corpus == "testwiki"
    assert corpus.manifest.cleaner == "nulls-2"
    assert corpus.num_documents == len(rows) == 79
    assert read_texts(tmp_path / "out")["12"] == ["Town 12 is a town of 12 km\u00b2."]
    assert rows["3"]["aliases"] == ["Redirect"]
    assert rows["3"]["revision"] == 37
    build = corpus.manifest.build
    assert build["skipped"] == {"not in namespace 0": 1, "no text after cleaning": 1}
    assert list(build["quarantined"].values()) == [1]
    assert build["aliases"] == {"resolved": 1, "cyclic": 0, "without_target": 0}


def test_cleaner_of_the_users_choice_is_recorded(dump: Path, tmp_path: Path) -> None:
    main(wikipedia(dump, tmp_path / "out", "--cleaner", "hf"))
    corpus = Corpus(tmp_path / "out")
    assert corpus.manifest.cleaner == "hf-1"
    assert corpus.manifest.build["versions"]["mwparserfromhell"].startswith("0.7")
    assert list(corpus.manifest.build["quarantined"]) == [
        "templates, links and tables nested deeper than 40"
    ]
    assert ["Town 12 is a town of ."] in read_texts(tmp_path / "out").values()


def test_generated_encyclopedia_comes_with_its_facts(tmp_path: Path) -> None:
    main(generated(tmp_path / "out"))
    corpus = Corpus(tmp_path / "out")
    listed = {record.path for record in corpus.manifest.files}
    assert listed | {"manifest.json"} == set(digests(tmp_path / "out"))
    assert "facts.parquet" in listed
    assert corpus.manifest.corpus == "generated"
    assert (corpus.manifest.num_sources, corpus.num_documents) == (40, 80)


@pytest.mark.parametrize("kind", ["wikipedia", "generated"])
def test_result_does_not_depend_on_the_number_of_workers(
    dump: Path, tmp_path: Path, kind: str
) -> None:
    for workers in ("1", "2"):
        out = tmp_path / workers
        command = wikipedia(dump, out) if kind == "wikipedia" else generated(out)
        main([*command, "--workers", workers])
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_limit_counts_documents_that_are_kept(dump: Path, tmp_path: Path) -> None:
    main(wikipedia(dump, tmp_path / "out", "--limit", "11"))
    assert Corpus(tmp_path / "out").num_documents == 11


def test_name_and_router_seed_are_part_of_the_corpus(dump: Path, tmp_path: Path) -> None:
    main(wikipedia(dump, tmp_path / "a"))
    main(wikipedia(dump, tmp_path / "b", "--name", "other", "--router-seed", "9"))
    a, b = Corpus(tmp_path / "a"), Corpus(tmp_path / "b")
    assert (b.manifest.corpus, b.manifest.router_seed) == ("other", 9)
    assert not set(a.source_ids.tolist()) & set(b.source_ids.tolist())


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--partitions", "5"], 2, "must divide 4096"),
        (["--input", "generated"], 2, "--format"),
        (["--tokenizer", "train:bpe"], 2, "train:bpe:N"),
        (["--tokenizer", "absent.json"], 3, "absent.json"),
        (["--input", "absent.xml"], 3, "absent.xml"),
        (["--out", "."], 3, "exists already"),
        (["--tokenizer", "train:bpe:259"], 3, "required_chars"),
        (["--text-field", "body"], 2, "--text-field is for --format jsonl and parquet"),
        (["--source-key", "author"], 2, "--source-key is for --format jsonl and parquet"),
        (["--index", "absent.txt.bz2"], 3, "absent.txt.bz2"),
    ],
)
def test_bad_input_ends_with_its_code_and_leaves_nothing(
    dump: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    code: int,
    message: str,
) -> None:
    before = digests(tmp_path)
    assert run_command(main, [*wikipedia(dump, tmp_path / "out"), *change]) == code
    assert message in capsys.readouterr().err
    assert digests(tmp_path) == before


def test_counts_must_be_positive(dump: Path, tmp_path: Path) -> None:
    for option in ("--workers", "--partitions", "--limit", "--articles", "--renderings"):
        with pytest.raises(SystemExit, match="2"):
            main(wikipedia(dump, tmp_path / "out", option, "0"))


def test_dump_without_a_name_needs_one(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump.write_text(dump.read_text().replace("<dbname>testwiki</dbname>", ""))
    assert run_command(main, wikipedia(dump, tmp_path / "a")) == 3
    assert "--name" in capsys.readouterr().err
    main(wikipedia(dump, tmp_path / "b", "--name", "mine"))
    assert Corpus(tmp_path / "b").manifest.corpus == "mine"


def test_damaged_dump_leaves_no_corpus(dump: Path, tmp_path: Path) -> None:
    dump.write_bytes(dump.read_bytes()[:-40])
    assert run_command(main, wikipedia(dump, tmp_path / "out", "--workers", "2")) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("<id>12</id>", "<id>13</id>"), "source key '13' occurs twice"),
        (lambda text: text.replace("<ns>0</ns>", "<ns>4</ns>"), "holds no article"),
        (lambda text: re.sub("<text>[^<]*", "<text>{{box}}", text), "holds no document"),
        (lambda text: "<html><body>503</body></html>", "<html>, not <mediawiki>"),
        (lambda text: "", "invalid XML"),
    ],
    ids=["duplicate", "no article", "no text", "html", "empty"],
)
def test_a_dump_that_makes_no_corpus_is_an_error_and_leaves_nothing(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change, message: str
) -> None:
    dump.write_text(change(dump.read_text()))
    assert run_command(main, wikipedia(dump, tmp_path / "out")) == 3
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [dump]


def fail_on_even(document: Document) -> Document:
    if int(document.source_key) % 2 == 0:
        raise ZeroDivisionError("broken cleaner")
    return document


def test_error_in_a_cleaner_names_the_page() -> None:
    page = Document(source_key="12", doc_index=0, title="Some Town", text="x")
    with pytest.raises(ZeroDivisionError) as error:
        list(clean_items([page], fail_on_even))
    assert "'Some Town' (key 12)" in error.value.__notes__[0]


@pytest.fixture
def pool():
    pool = WorkerPool(2)
    yield pool
    pool.close()


def test_death_of_a_worker_ends_the_build_with_an_error(pool: WorkerPool) -> None:
    with pytest.raises(ChildProcessError, match="worker process died"):
        list(pool.map(os._exit, [3, 3]))


def test_a_pool_reads_little_ahead_and_keeps_the_order(pool: WorkerPool) -> None:
    read: list[int] = []

    def numbers():
        for number in range(-50, 50):
            read.append(number)
            yield number

    results = pool.map(abs, numbers())
    assert next(results) == 50
    assert len(read) <= 10
    assert [50, *results] == [abs(number) for number in range(-50, 50)]


def test_errors_of_workers_propagate(pool: WorkerPool) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(pool.map(int, ["1", "x", "3"]))
    assert list(pool.map(int, ["4", "5"])) == [4, 5]


def test_real_excerpt_becomes_a_corpus(test_data: Path, tmp_path: Path) -> None:
    path = test_data / "dump" / "enwiki-excerpt-multistream.xml.bz2"
    main(wikipedia(path, tmp_path / "out", "--limit", "12", "--tokenizer", "train:bpe:2000"))
    corpus = Corpus(tmp_path / "out")
    assert corpus.num_documents == 12
    assert corpus.manifest.corpus == "enwiki"
    assert corpus.manifest.tokenizer.vocab_size == 2000
    assert read_texts(tmp_path / "out")["303"][0].startswith("Alabama (")
