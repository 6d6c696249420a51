"""Damage to any file of a corpus is found and the file named."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.build import main as build
from data_prep.verification import verify_corpus
from data_prep.verify import main
from nulls_dist.cli import run_command
from nulls_dist.data.format import document_schema
from nulls_dist.data.source_table import SourceTable
from nulls_dist.durable import sha256_file
from nulls_dist.errors import IntegrityError
from tests.corpus_contents import edit_manifest

FILES = (
    "partitions/part-00001.arrow",
    "sources.parquet",
    "facts.parquet",
    "duplicates.parquet",
    "tokenizer/spm.model",
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "out"
    source = ["--input", "generated", "--format", "generated", "--out", str(out)]
    size = ["--articles", "20", "--renderings", "2", "--partitions", "2", "--workers", "1"]
    build([*source, *size, "--tokenizer", "train:bpe:400"])
    return out


@pytest.fixture
def corpus(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def test_sound_corpus_passes(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(main, [str(sound)]) == 0
    assert verify_corpus(sound).num_documents == 40


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_one_flipped_bit_is_found(
    corpus: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((corpus / name).read_bytes())
    content[len(content) // 2] ^= 4
    (corpus / name).write_bytes(content)
    assert run_command(main, [str(corpus)]) == 5
    assert name in capsys.readouterr().err


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_truncation_is_found(corpus: Path, name: str) -> None:
    content = (corpus / name).read_bytes()
    (corpus / name).write_bytes(content[:-9])
    with pytest.raises(IntegrityError, match=name):
        verify_corpus(corpus)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_found(corpus: Path, name: str) -> None:
    (corpus / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        verify_corpus(corpus)


def test_directory_that_is_no_corpus_is_bad_input(tmp_path: Path) -> None:
    assert run_command(main, [str(tmp_path)]) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"router_seed": 1}, "part-00000.arrow: a source belongs to another partition"),
        ({"num_documents": 39}, "40 documents"),
        ({"num_sources": 19}, "sources.parquet"),
        ({"corpus": "other"}, "sources.parquet: source key"),
        ({"num_partitions": 4}, "part-00000.arrow: footer"),
        ({"num_partitions": 1}, "part-00000.arrow: footer"),
        ({"num_partitions": 0}, "manifest.json: num_partitions is 0"),
        ({"num_partitions": -1}, "manifest.json: num_partitions is -1"),
        ({"format_version": 2}, "manifest.json"),
        ({"router_version": 9}, "manifest.json"),
        ({"token_type": "int7"}, "manifest.json"),
    ],
)
def test_manifest_that_disagrees_with_the_files_is_found(
    corpus: Path, changes: dict[str, object], message: str
) -> None:
    edit_manifest(corpus, **changes)
    with pytest.raises(IntegrityError, match=message):
        verify_corpus(corpus)


def reseal(corpus: Path, name: str) -> None:
    """Record a changed file's new size and checksum, so that only its contents are wrong."""
    files = json.loads((corpus / "manifest.json").read_text())["files"]
    for record in files:
        if record["path"] == name:
            record["num_bytes"] = (corpus / name).stat().st_size
            record["sha256"] = sha256_file(corpus / name)
    edit_manifest(corpus, files=files)


def rewrite_partition(corpus: Path, change) -> None:
    """Change the rows of a partition, its metadata staying as consistent as possible."""
    import numpy as np

    from nulls_dist.data.partition import batch_metadata

    path = corpus / "partitions" / "part-00001.arrow"
    with pa.ipc.open_file(path) as reader:
        metadata = reader.metadata
        rows = reader.read_all().to_pylist()
    change(rows)
    schema = document_schema("uint16")
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    tokens = np.concatenate([np.array(row["tokens"], dtype=np.uint16) for row in rows])
    with pa.ipc.new_file(path, schema, metadata=metadata) as writer:
        ids = batch.column("source_id").to_numpy()
        writer.write_batch(batch, custom_metadata=batch_metadata(ids, tokens))
    reseal(corpus, "partitions/part-00001.arrow")


def test_metadata_that_is_not_utf8_and_batches_without_rows_are_damage(corpus: Path) -> None:
    path = corpus / "partitions" / "part-00001.arrow"
    schema = document_schema("uint16")
    with pa.ipc.open_file(path) as reader:
        batch, metadata = reader.get_batch_with_custom_metadata(0)
        footer = reader.metadata
    for wrong, written, message in (
        ({b"\xff": b"\xff"}, batch, "footer says"),
        (footer, batch[:0], "a batch has no rows"),
    ):
        with pa.ipc.new_file(path, schema, metadata=wrong) as writer:
            writer.write_batch(written, custom_metadata=dict(metadata))
        reseal(corpus, "partitions/part-00001.arrow")
        with pytest.raises(IntegrityError, match=f"part-00001.arrow: {message}"):
            verify_corpus(corpus)


def test_names_that_are_not_utf8_are_damage(corpus: Path) -> None:
    path = corpus / "sources.parquet"
    table = pq.read_table(path)
    titles = [b"\xff", *(title.encode() for title in table["title"].to_pylist()[1:])]
    column = pa.array(titles, pa.binary()).view(pa.string())
    place = table.schema.get_field_index("title")
    pq.write_table(table.set_column(place, table.schema.field("title"), column), path)
    reseal(corpus, "sources.parquet")
    with pytest.raises(IntegrityError, match=r"sources\.parquet: not readable as Parquet"):
        verify_corpus(corpus)
    with pytest.raises(IntegrityError, match=r"sources\.parquet: not readable as Parquet"):
        SourceTable(path).title_of(int(table["source_id"][0].as_py()))


def drop_end(rows: list[dict]) -> None:
    rows[3]["tokens"][-1] = 7


def big_token(rows: list[dict]) -> None:
    rows[3]["tokens"][0] = 60_000


def swap(rows: list[dict]) -> None:
    rows[0], rows[1] = rows[1], rows[0]


def repeat(rows: list[dict]) -> None:
    rows[1] = rows[0]


def lose(rows: list[dict]) -> None:
    del rows[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_end, "does not end with the end token"),
        (big_token, "token id 60000"),
        (swap, "ascending"),
        (repeat, "ascending"),
        (lose, "manifest says"),
    ],
)
def test_rows_that_break_the_format_are_found_behind_a_good_checksum(
    corpus: Path, change, message: str
) -> None:
    rewrite_partition(corpus, lambda rows: None)
    verify_corpus(corpus)
    rewrite_partition(corpus, change)
    with pytest.raises(IntegrityError, match=f"part-00001.arrow: .*{message}"):
        verify_corpus(corpus)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("num_tokens", 1, "column num_tokens is wrong"),
        ("num_documents", 9, "column num_documents is wrong"),
        ("bucket", 4095, "column bucket is wrong"),
        ("source_key", "x", "does not hash to its id"),
        ("aliases", ["b", "a"], "not sorted"),
        ("source_id", 1, "ids are not those of the documents"),
    ],
)
def test_source_rows_that_break_the_format_are_found_behind_a_good_checksum(
    corpus: Path, column: str, value: object, message: str
) -> None:
    path = corpus / "sources.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    reseal(corpus, "sources.parquet")
    with pytest.raises(IntegrityError, match=f"sources.parquet: .*{message}"):
        verify_corpus(corpus)
