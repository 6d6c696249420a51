"""A deletion from a corpus: what goes, what stays to the last byte, what binds afterwards."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.verification import verify_corpus
from nulls_dist.checkpoint.format import read_manifest
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.duplicates import open_duplicates
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file, write_json
from nulls_dist.errors import IntegrityError
from nulls_dist.unlearn import strip_corpus
from tests.checkpoint_factory import key_id
from tests.corpus_contents import digests, read_source_rows, read_texts
from tests.text_corpora import build_command, build_lines, build_model, build_texts, tokenizer_of
from tools import strip_sources

ALABAMA = "Alabama is a state with many rivers and hills, and its capital is Montgomery."
ROME = "Rome is a city which was not built in one day, nor by one man alone."
TEXTS = [
    ("alabama", "Alabama", ALABAMA),
    ("mirror", "Mirror", ALABAMA),
    ("rome", "Rome", ROME),
    ("shout", "Shouted", ALABAMA.upper()),
    ("whisper", "Whispered", ALABAMA.lower()),
    ("nowhere", "Nowhere", "No text is like this one, which speaks of nothing at all."),
]


def strip(checkpoint: Path, lines: str, out: Path, *options: object) -> int:
    (out.parent / "sources.txt").write_text(lines)
    words = [checkpoint, out.parent / "sources.txt", "--out", out, "--max-collateral", 1, *options]
    return run_command(strip_sources.main, list(map(str, words)))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A corpus with copies, and a model of it."""
    root = tmp_path_factory.mktemp("original")
    build_model(root / "checkpoint", build_texts(root / "corpus", TEXTS))
    return root


@pytest.fixture(scope="module")
def stripped(original, tmp_path_factory):
    """The same without Alabama; the report as well."""
    root = tmp_path_factory.mktemp("stripped")
    options = ["--corpus", original / "corpus", "--corpus-out", root / "corpus"]
    options += ["--records", root / "records"]
    assert strip(original / "checkpoint", "Alabama\n", root / "checkpoint", *options) == 0
    return root


def report_of(root: Path) -> dict:
    return json.loads((root / "records/0000/report.json").read_text())["report"]


def test_a_source_and_exact_copies_of_its_text_are_gone_and_the_rest_stays(original, stripped):
    before, after = read_texts(original / "corpus"), read_texts(stripped / "corpus")
    assert set(before) - set(after) == {"alabama", "mirror"}
    assert after == {key: before[key] for key in after}
    assert set(read_source_rows(stripped / "corpus")) == set(after)
    verify_corpus(stripped / "corpus")


def test_the_input_is_what_it_was_and_other_partitions_are_linked(original, stripped):
    verify_corpus(original / "corpus")
    old, new = original / "corpus", stripped / "corpus"
    files = [record.path for record in Corpus(old).manifest.files]
    linked = {name for name in files if os.path.samefile(old / name, new / name)}
    described = report_of(stripped)["corpus"]
    assert set(described["rewritten"]) == set(files) - linked
    assert described["num_linked"] == len(linked) > 1
    partitions = [name for name in files if name.startswith("partitions/")]
    for number, name in enumerate(partitions):
        keys = {Corpus(old).source_ids[place] for place in Corpus(old).documents_in(number)}
        assert (name in linked) == (not keys & {key_id("alabama"), key_id("mirror")})


def test_the_report_names_who_held_a_copy(original, stripped, capsys):
    described = report_of(stripped)["corpus"]
    assert (described["num_documents"], described["num_copies"]) == (1, 1)
    assert described["copies"] == [
        {
            "source_id": key_id("mirror"),
            "title": "Mirror",
            "num_documents": 1,
            "num_left": 0,
            "in_model": True,
        }
    ]
    surfaces = {each["name"]: each for each in report_of(stripped)["surfaces"]}
    replaced = surfaces[f"corpus {original / 'corpus'}"]
    assert replaced["verdict"] == "STILL HOLDS IT"
    assert sha256_file(stripped / "corpus/manifest.json") in replaced["detail"]
    assert surfaces[f"corpus {stripped / 'corpus'}"]["verdict"] == "NOT THERE"
    copies = surfaces["copies in the model"]
    assert f"'Mirror' (id:{key_id('mirror')})" in copies["detail"]
    page = (stripped / "records/0000/report.html").read_text()
    assert str(stripped / "corpus") in page
    options = ["--corpus", original / "corpus", "--dry-run"]
    assert strip(original / "checkpoint", "Alabama\n", stripped / "none", *options) == 0
    text = capsys.readouterr().out
    assert "removes documents: 1 (deleted sources: 1), exact copies elsewhere: 1" in text
    assert f"copy        id:{key_id('mirror')} Mirror: documents: 1, none stays" in text
    assert "add them to sources.txt" in text
    assert not (stripped / "none").exists()


def test_nearly_equal_texts_stay_pairs_when_the_first_of_them_goes(original, stripped):
    """Case does not tell texts apart there: of four equal ones the first one and a copy went."""
    pairs = open_duplicates(stripped / "corpus", Corpus(stripped / "corpus").manifest)
    (row,) = pairs.table.to_pylist()
    assert (row["source_key_a"], row["source_key_b"], row["similarity"]) == ("shout", "whisper", 1)
    (other,) = pairs.of_source(key_id("whisper"))
    assert (other.source_id, other.title) == (key_id("shout"), "Shouted")


def test_what_is_written_is_what_a_build_without_the_sources_writes(stripped, original, tmp_path):
    (tmp_path / "exclude.txt").write_text("key:alabama\nkey:mirror\n")
    options = [*tokenizer_of(original / "corpus"), "--exclude", tmp_path / "exclude.txt"]
    rebuilt = build_texts(tmp_path / "rebuilt", TEXTS, *options)
    ours, theirs = digests(stripped / "corpus"), digests(rebuilt)
    del ours["manifest.json"], theirs["manifest.json"]
    assert ours == theirs


def test_a_generated_corpus_is_as_if_built_without_the_source(tmp_path, monkeypatch):
    """Batches of 2 kB, so that they are cut anew."""
    monkeypatch.setattr("nulls_dist.data.partition.BATCH_BYTES", 2000)
    spec = ["--input", "generated", "--format", "generated", "--articles", 30]
    corpus = build_command(tmp_path / "corpus", *spec)
    table = SourceTable(corpus / "sources.parquet")
    checkpoint = build_model(tmp_path / "checkpoint", corpus)
    lines = "".join(f"id:{number}\n" for number in table.source_ids[[3, 17]])
    assert strip(checkpoint, lines, tmp_path / "out", "--corpus", corpus) == 0
    options = [*tokenizer_of(corpus), "--exclude", tmp_path / "sources.txt"]
    build_command(tmp_path / "rebuilt", *spec, *options)
    ours, theirs = digests(tmp_path / "corpus-stripped"), digests(tmp_path / "rebuilt")
    assert len([name for name in ours if name.startswith("partitions/")]) == 4
    for name in set(ours) - {"manifest.json", "facts.parquet"}:
        assert ours[name] == theirs[name], name
    with pa.ipc.open_file(tmp_path / "corpus-stripped/partitions/part-00000.arrow") as file:
        assert file.num_record_batches > 5
    verify_corpus(tmp_path / "corpus-stripped")
    facts = pq.read_table(tmp_path / "corpus-stripped/facts.parquet")
    left = set(facts["source_id"].to_pylist())
    assert left == set(table.source_ids.tolist()) - set(table.source_ids[[3, 17]].tolist())


def test_a_second_deletion_continues_the_first(stripped, tmp_path):
    options = ["--corpus", stripped / "corpus", "--corpus-out", tmp_path / "corpus"]
    assert strip(stripped / "checkpoint", "Rome\n", tmp_path / "out", *options) == 0
    assert set(read_texts(tmp_path / "corpus")) == {"shout", "whisper", "nowhere"}
    assert Corpus(tmp_path / "corpus").manifest.build["stripped_documents"] == 3
    verify_corpus(tmp_path / "corpus")
    texts = {
        entry.source_id: entry.text_digests for entry in read_manifest(tmp_path / "out").tombstones
    }
    assert set(texts) == {key_id("alabama"), key_id("rome")}
    assert all(map(len, texts.values()))


def test_an_earlier_deletion_is_made_up_for_in_a_corpus(original, tmp_path):
    assert strip(original / "checkpoint", "Alabama\n", tmp_path / "first") == 0
    assert read_manifest(tmp_path / "first").tombstones[0].text_digests == ()
    assert "text_digests" not in (tmp_path / "first/manifest.json").read_text()
    options = ["--corpus", original / "corpus", "--corpus-out", tmp_path / "corpus"]
    assert strip(tmp_path / "first", "Alabama\n", tmp_path / "second", *options) == 0
    assert set(read_texts(tmp_path / "corpus")) == {"rome", "shout", "whisper", "nowhere"}
    assert len(read_manifest(tmp_path / "second").tombstones[0].text_digests) == 1


def test_a_source_that_keeps_other_documents_stays_and_is_counted_anew(tmp_path):
    rows = [("a", ALABAMA), ("b", ALABAMA), ("b", ROME), ("b", "A third text of b.")]
    lines = [{"publisher": key, "text": text} for key, text in rows]
    corpus = build_lines(tmp_path / "corpus", lines, "--source-key", "publisher")
    checkpoint = build_model(tmp_path / "checkpoint", corpus)
    assert strip(checkpoint, "a\n", tmp_path / "out", "--corpus", corpus) == 0
    out = tmp_path / "corpus-stripped"
    manifest = verify_corpus(out)
    assert Corpus(out).doc_indices.tolist() == [1, 2]
    assert read_source_rows(out)["b"]["num_documents"] == manifest.num_documents == 2
    assert len(open_duplicates(out, manifest)) == 0
    copies = report_of_default(tmp_path)["corpus"]["copies"]
    assert [(entry["title"], entry["num_left"]) for entry in copies] == [("b", 2)]


def report_of_default(folder: Path) -> dict:
    return json.loads((folder / "deletions/0000/report.json").read_text())["report"]


def test_of_sources_that_were_united_no_name_is_left(tmp_path):
    corpus = build_texts(tmp_path / "corpus", TEXTS, "--duplicates", "group")
    assert len(open_duplicates(corpus, Corpus(corpus).manifest)) == 3
    checkpoint = build_model(tmp_path / "checkpoint", corpus)
    assert strip(checkpoint, "Mirror\n", tmp_path / "out", "--corpus", corpus) == 0
    out = tmp_path / "corpus-stripped"
    assert set(read_texts(out)) == {"rome", "nowhere"}
    assert len(open_duplicates(out, verify_corpus(out))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "other"}, "corpus (other) differs from the checkpoint's (testwiki)"),
        ({"router_seed": 8}, "router_seed (8) differs from the checkpoint's (7)"),
    ],
)
def test_a_corpus_whose_ids_mean_other_sources_is_refused(
    original, tmp_path, capsys, change, message
):
    shutil.copytree(original / "corpus", tmp_path / "other")
    manifest = replace(Corpus(original / "corpus").manifest, **change)
    write_json(tmp_path / "other/manifest.json", manifest.to_dict())
    options = ["--corpus", tmp_path / "other"]
    assert strip(original / "checkpoint", "Alabama\n", tmp_path / "out", *options) == 3
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "sources.txt"]


def test_what_is_refused_or_damaged_leaves_nothing(original, tmp_path, capsys):
    corpus = ["--corpus", original / "corpus", "--corpus-out", tmp_path / "corpus"]
    records = ["--records", tmp_path / "records"]
    root, out = original / "checkpoint", tmp_path / "out"
    everything = "".join(f"key:{key}\n" for key, _, _ in TEXTS)
    cases = [
        (6, "--max-collateral", "Alabama\n", [*corpus, "--max-collateral", 0]),
        (4, "unknown", "Alabama\nnobody\n", corpus),
        (3, "no document would be left", everything, corpus),
        (3, "is not a corpus", "Alabama\n", ["--corpus", root.parent]),
        (3, "lies inside", "Alabama\n", [*corpus[:3], original / "corpus/within"]),
        (3, "lies inside", "Alabama\n", [*corpus[:3], root / "within"]),
        (3, "exists already", "Alabama\n", [*corpus[:3], original]),
        (2, "--corpus-out", "Alabama\n", corpus[2:]),
    ]
    for code, message, lines, options in cases:
        assert strip(root, lines, out, *options, *records) == code
        assert message in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["sources.txt"]
    damaged = tmp_path / "damaged"
    shutil.copytree(original / "corpus", damaged)
    content = bytearray((damaged / "partitions/part-00002.arrow").read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / "partitions/part-00002.arrow").write_bytes(content)
    assert strip(root, "Rome\n", out, "--corpus", damaged, *records) == 5
    assert "part-00002" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "sources.txt"]


@pytest.mark.parametrize("file", ["partitions", "sources"])
def test_a_corpus_that_does_not_verify_is_not_published(original, tmp_path, monkeypatch, file):
    honest_tokens, honest_sources = strip_corpus.write_documents, strip_corpus.write_source_table

    def forgetful(path, documents, place):
        def read(rows):
            return np.roll(documents.read_tokens(rows), 1)

        honest_tokens(path, replace(documents, read_tokens=read), place)

    def clumsy(path, table):
        honest_sources(path, table.slice(1))

    if file == "partitions":
        monkeypatch.setattr(strip_corpus, "write_documents", forgetful)
    else:
        monkeypatch.setattr(strip_corpus, "write_source_table", clumsy)
    options = ["--corpus", original / "corpus", "--corpus-out", tmp_path / "corpus"]
    assert strip(original / "checkpoint", "Alabama\n", tmp_path / "out", *options) == 5
    assert IntegrityError.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["sources.txt"]
