"""Partitions and sources: order, membership, metadata, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import xxhash

import data_prep.spill
from data_prep.documents import Document
from data_prep.exclusion import Exclusion
from data_prep.settlement import Settlement
from data_prep.shards import PartitionOptions, read_sources, write_partition
from data_prep.source_table import resolve_aliases
from data_prep.spill import SpillOptions, spill_file, write_spill
from data_prep.spool import Spooled
from data_prep.tokenize import TokenizedDocument, tokenize_document
from nulls_dist.data.format import TokenizerRecord, document_schema, partition_file
from nulls_dist.data.partition import BATCH_BYTES
from nulls_dist.durable import FileRecord
from nulls_dist.errors import InputError
from nulls_dist.routing.router import NUM_BUCKETS, buckets_of
from nulls_dist.sources import source_id_of

RECORD = TokenizerRecord(
    kind="hf", file="tokenizer/tokenizer.json", sha256="0" * 64, vocab_size=300, eos_id=299
)


class CharacterTokenizer:
    """Ids are code points."""

    vocab_size = 300

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def id_of(self, token: str) -> int | None:
        return None


def tokenized(key: str, doc_index: int, text: str) -> TokenizedDocument:
    document = Document(
        source_key=key,
        doc_index=doc_index,
        title=f"Title {key}",
        text=text,
        rev_id=100 + doc_index,
        url=f"u/{key}",
    )
    spooled = Spooled(document, xxhash.xxh3_128_digest(text.encode()), len(text.encode()))
    return tokenize_document(spooled, CharacterTokenizer(), RECORD)


def build(
    root: Path,
    documents: list[TokenizedDocument],
    num_partitions: int = 4,
    *,
    num_files: int = 2,
    shares_sources: bool = False,
):
    """Partitions and sources of documents that were spilled to some files."""
    for name in ("spill", "sources", "partitions"):
        (root / name).mkdir(parents=True)
    spill = SpillOptions(
        root=root,
        folder=root / "spill",
        corpus="c",
        router_seed=7,
        num_partitions=num_partitions,
        tokenizer=RECORD,
        exclusion=Exclusion(),
        settlement=Settlement(),
    )
    numbered = list(enumerate(documents))
    for number in range(num_files):
        part = numbered[
            number * len(numbered) // num_files : (number + 1) * len(numbered) // num_files
        ]
        write_spill(spill_file(spill.folder, number), part, spill)
    options = PartitionOptions(
        root=root,
        spill=spill.folder,
        num_spill_files=num_files,
        sources=root / "sources",
        num_partitions=num_partitions,
        token_type="uint16",
        tokenizer_sha256=RECORD.sha256,
        router_seed=7,
        shares_sources=shares_sources,
    )
    records = [
        FileRecord(**write_partition(partition, options=options))
        for partition in range(num_partitions)
    ]
    return records, read_sources(options)


def read(root: Path, partition: int) -> list[dict]:
    with pa.ipc.open_file(root / partition_file(partition)) as reader:
        assert reader.schema.equals(document_schema("uint16"))
        return reader.read_all().to_pylist()


def test_every_document_is_in_its_partition_in_order(tmp_path: Path) -> None:
    documents = [
        tokenized(str(key), index, f"{key}/{index}") for index in (2, 0, 1) for key in range(40)
    ]
    records, _ = build(tmp_path, documents)
    seen = []
    for partition, record in enumerate(records):
        rows = read(tmp_path, partition)
        places = [(row["source_id"], row["doc_index"]) for row in rows]
        assert places == sorted(places)
        ids = np.array([row["source_id"] for row in rows], dtype=np.uint64)
        buckets = buckets_of(ids, router_seed=7)
        assert np.all(buckets // (NUM_BUCKETS // 4) == partition)
        assert record.num_rows == len(rows)
        assert record.num_tokens == sum(len(row["tokens"]) for row in rows)
        seen += rows
    assert len(seen) == 120
    row = next(
        row for row in seen if row["source_id"] == source_id_of("c", "7") and row["doc_index"] == 2
    )
    assert row == {
        "source_id": source_id_of("c", "7"),
        "doc_index": 2,
        "rev_id": 102,
        "text_digest": xxhash.xxh3_128_digest(b"7/2"),
        "tokens": [ord("7"), ord("/"), ord("2"), 299],
    }


def test_sources_are_described_by_their_first_document(tmp_path: Path) -> None:
    _, sources = build(
        tmp_path, [tokenized("a", 1, "later"), tokenized("a", 0, "x"), tokenized("b", 0, "y")]
    )
    ids = sources.column("source_id").to_pylist()
    assert ids == sorted([source_id_of("c", "a"), source_id_of("c", "b")])
    row = sources.to_pylist()[ids.index(source_id_of("c", "a"))]
    assert row["source_key"] == "a"
    assert row["title"] == "Title a"
    assert row["revision"] == 100
    assert (row["num_documents"], row["num_tokens"]) == (2, len("later") + len("x") + 2)


def test_batches_carry_their_id_range_and_hash(tmp_path: Path) -> None:
    length = BATCH_BYTES // 2 - 1
    documents = [tokenized(str(key), 0, "a" * length) for key in range(3)]
    build(tmp_path, documents, num_partitions=1)
    with pa.ipc.open_file(tmp_path / partition_file(0)) as reader:
        assert reader.num_record_batches == 3
        assert reader.metadata == {
            b"format_version": b"1",
            b"partition": b"0",
            b"num_partitions": b"1",
            b"tokenizer_sha256": b"0" * 64,
        }
        batch, metadata = reader.get_batch_with_custom_metadata(0)
    first = min(source_id_of("c", str(key)) for key in range(3))
    content = np.array([ord("a")] * length + [299], dtype=np.uint16).tobytes()
    assert dict(metadata) == {
        b"min_source_id": str(first).encode(),
        b"max_source_id": str(first).encode(),
        b"tokens_xxh3_64": xxhash.xxh3_64_hexdigest(content).encode(),
    }
    assert batch.num_rows == 1


def test_two_keys_with_one_id_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_prep.spill, "source_id_of", lambda corpus, key: 5)
    with pytest.raises(InputError, match="'left' and 'right' have the same 64-bit id"):
        build(tmp_path, [tokenized("right", 0, "x"), tokenized("left", 0, "y")])


def test_a_document_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'12' occurs twice"):
        build(tmp_path, [tokenized("12", 0, "x"), tokenized("3", 0, "x"), tokenized("12", 0, "y")])


def test_token_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(InputError, match=r"'Title 9' \(key 9\): token id 300 is not below"):
        tokenized("9", 0, "ab\u012c")


def test_aliases_follow_redirects_to_a_source() -> None:
    aliases = {
        "USA": "United States",
        "US": "USA",
        "U.S.": "US",
        "History of the US": "United States#History",
        "Loop A": "Loop B",
        "Loop B": "Loop A",
        "Self": "Self",
        "Into a loop": "Loop A",
        "Gone": "Absent page",
        "To gone": "Gone",
        "Section of itself": "#Top",
    }
    resolved = resolve_aliases(aliases, {"United States": 7, "Rome": 8})
    assert resolved.by_source == {7: ["History of the US", "U.S.", "US", "USA"]}
    assert resolved.num_resolved == 4
    assert resolved.num_cyclic == 4
    assert resolved.num_without_target == 3


def test_an_alias_that_is_a_source_of_its_own_stays_a_title() -> None:
    resolved = resolve_aliases({"Rome": "Italy"}, {"Rome": 1, "Italy": 2})
    assert resolved.by_source == {}


def test_sources_are_numbered_in_reading_order(tmp_path: Path) -> None:
    documents = [tokenized(key, 0, "x") for key in ("z", "a", "m", "b")]
    _, sources = build(tmp_path, [*documents, tokenized("z", 1, "again")])
    places = {row["source_key"]: row["index"] for row in sources.to_pylist()}
    assert places == {"z": 0, "a": 1, "m": 2, "b": 3}


def test_documents_of_shared_sources_are_numbered_in_reading_order(tmp_path: Path) -> None:
    keys = ["b", "a", "b", "a", "b"]
    documents = [tokenized(key, 0, f"{number}") for number, key in enumerate(keys)]
    build(tmp_path, documents, num_partitions=1, num_files=3, shares_sources=True)
    found = [
        (row["source_id"], row["doc_index"], chr(row["tokens"][0])) for row in read(tmp_path, 0)
    ]
    expected = [("b", 0, "0"), ("b", 1, "2"), ("b", 2, "4"), ("a", 0, "1"), ("a", 1, "3")]
    assert found == sorted((source_id_of("c", key), *rest) for key, *rest in expected)


def test_the_division_into_spill_files_does_not_show(tmp_path: Path) -> None:
    documents = [tokenized(str(key), 0, f"text {key}") for key in range(30)]
    one, many = (
        build(tmp_path / "1", documents, num_files=1),
        build(tmp_path / "9", documents, num_files=9),
    )
    assert one[0] == many[0]
    assert one[1].equals(many[1])
