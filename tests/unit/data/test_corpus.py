"""An opened corpus is what was written; what is damaged is named before it is used."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import MANIFEST_FILE, document_schema, partition_file, partition_of
from nulls_dist.durable import record_file
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.routing.router import NUM_BUCKETS
from nulls_dist.sources import source_id_of
from tests.corpus_contents import edit_manifest
from tests.corpus_factory import CORPUS, ROUTER_SEED, counted_texts, write_corpus, write_partition

TEXTS = counted_texts(30)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return Corpus(write_corpus(tmp_path_factory.mktemp("corpus") / "whole", TEXTS))


@pytest.fixture
def root(tmp_path):
    return write_corpus(tmp_path / "corpus", TEXTS)


def record_again(root, name):
    """Make the manifest agree with a file that was changed on purpose."""
    files = json.loads((root / MANIFEST_FILE).read_text())["files"]
    record = record_file(root, name)
    for entry in files:
        if entry["path"] == name:
            entry |= {"num_bytes": record.num_bytes, "sha256": record.sha256}
    edit_manifest(root, files=files)


def test_every_document_is_found_with_the_tokens_that_were_written(corpus):
    written = {(text.source_id, text.doc_index): text.tokens for text in TEXTS}
    assert corpus.num_documents == len(TEXTS)
    for number in range(corpus.num_documents):
        place = int(corpus.source_ids[number]), int(corpus.doc_indices[number])
        tokens = written.pop(place)
        assert corpus.tokens(number).tolist() == list(tokens)
        assert corpus.lengths[number] == len(tokens)
    assert not written


def test_documents_are_ordered_by_partition_source_and_number(corpus):
    rows = list(
        zip(
            [partition_of(bucket, 4) for bucket in corpus.buckets()],
            corpus.source_ids.tolist(),
            corpus.doc_indices.tolist(),
            strict=True,
        )
    )
    assert rows == sorted(rows)
    assert len({partition for partition, _, _ in rows}) > 1


def test_the_arrays_have_the_promised_types(corpus):
    assert corpus.source_ids.dtype == np.uint64
    assert corpus.doc_indices.dtype == np.uint32
    assert corpus.lengths.dtype == np.int64


def test_tokens_are_not_copied(corpus):
    number = 3
    mapped = corpus.table().column("tokens").chunk(0).values.to_numpy(zero_copy_only=True)
    assert np.shares_memory(corpus.tokens(number), mapped)
    assert np.shares_memory(corpus.tokens(number), next(corpus.token_blocks()))
    assert not corpus.tokens(number).flags.writeable


def test_a_document_that_does_not_exist_is_not_another_one(corpus):
    with pytest.raises(IndexError):
        corpus.tokens(corpus.num_documents)
    with pytest.raises(AssertionError, match="numbered from 0"):
        corpus.tokens(-1)


def test_the_documents_of_a_source_are_found_by_its_id(corpus):
    for source_id in {text.source_id for text in TEXTS}:
        (expected,) = np.nonzero(corpus.source_ids == np.uint64(source_id))
        assert list(corpus.documents_of(source_id)) == expected.tolist()
        assert len(expected) == 2
    assert not corpus.documents_of(source_id_of(CORPUS, "never heard of"))
    assert not corpus.documents_of(0)
    assert not corpus.documents_of(2**64 - 1)


def test_blocks_hold_all_tokens_in_order(corpus):
    blocks = list(corpus.token_blocks())
    assert len(blocks) > 4
    documents = [corpus.tokens(number) for number in range(corpus.num_documents)]
    assert np.array_equal(np.concatenate(blocks), np.concatenate(documents))


def test_batches_and_partitions_without_documents_are_read_over(root):
    corpus = Corpus(root)
    schema = document_schema("uint16")
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    tables = [pa.ipc.open_file(path).read_all() for path in sorted(root.glob("partitions/*"))]
    for number, table in enumerate(tables):
        (root / partition_file(number)).unlink()
        with pa.ipc.new_file(root / partition_file(number), schema) as writer:
            for batch in (empty, *table.to_batches(), empty):
                writer.write_batch(batch)
        record_again(root, partition_file(number))
    padded = Corpus(root)
    assert len(list(padded.token_blocks())) > len(list(corpus.token_blocks()))
    assert padded.table().equals(corpus.table())
    for number in range(corpus.num_documents):
        assert np.array_equal(padded.tokens(number), corpus.tokens(number))
        assert number in padded.documents_of(int(corpus.source_ids[number]))


def test_a_corpus_without_documents_is_an_empty_table(tmp_path):
    corpus = Corpus(write_corpus(tmp_path / "corpus", []))
    assert corpus.table().schema.equals(document_schema("uint16"))
    assert corpus.num_documents == len(corpus.table()) == len(list(corpus.token_blocks())) == 0


def test_the_fingerprint_tells_corpora_apart(corpus, root, tmp_path):
    assert len(corpus.fingerprint) == 64
    assert corpus.fingerprint == Corpus(root).fingerprint
    assert corpus.fingerprint != Corpus(write_corpus(tmp_path / "less", TEXTS[1:])).fingerprint


def test_uint32_tokens_keep_their_values(tmp_path):
    texts = [replace(TEXTS[0], tokens=(70_000, 2**32 - 1))]
    corpus = Corpus(write_corpus(tmp_path / "corpus", texts, token_type="uint32"))
    assert corpus.tokens(0).dtype == np.uint32
    assert corpus.tokens(0).tolist() == [70_000, 2**32 - 1]


def test_tokens_per_bucket_counts_each_token_in_the_bucket_of_its_source(corpus):
    expected = np.zeros(NUM_BUCKETS, dtype=np.int64)
    for text in TEXTS:
        expected[text.bucket] += len(text.tokens)
    assert np.array_equal(corpus.tokens_per_bucket(), expected)
    assert corpus.manifest.router_seed == ROUTER_SEED


def test_a_directory_without_a_manifest_is_not_a_corpus(tmp_path):
    with pytest.raises(InputError, match=r"is not a corpus.*data_prep\.build"):
        Corpus(tmp_path)


@pytest.mark.parametrize("count", ["num_documents", "num_tokens"])
def test_counts_that_differ_from_the_manifest_are_refused(root, count):
    value = json.loads((root / MANIFEST_FILE).read_text())[count]
    edit_manifest(root, **{count: value + 1})
    with pytest.raises(IntegrityError, match=rf"{root}: .*manifest says .*{value + 1}"):
        Corpus(root)


def test_a_missing_partition_is_named(root):
    (root / partition_file(2)).unlink()
    with pytest.raises(IntegrityError, match=r"part-00002\.arrow: file is missing"):
        Corpus(root)


@pytest.mark.parametrize("size", [0, 1, 200])
def test_a_truncated_partition_is_named_by_its_size(root, size):
    path = root / partition_file(1)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IntegrityError, match=rf"part-00001\.arrow: {size} bytes"):
        Corpus(root)


def test_a_truncated_partition_is_refused_also_where_the_manifest_agrees(root):
    path = root / partition_file(1)
    path.write_bytes(path.read_bytes()[:-100])
    record_again(root, partition_file(1))
    with pytest.raises(IntegrityError, match=r"part-00001\.arrow: not an Arrow file"):
        Corpus(root)


def test_a_partition_that_the_manifest_does_not_list_is_named(root):
    edit_manifest(root, num_partitions=5)
    with pytest.raises(IntegrityError, match=r"does not list partitions/part-00004\.arrow"):
        Corpus(root)


def test_a_partition_of_another_schema_is_named(root):
    write_partition(root / partition_file(0), [], "uint32", 5)
    record_again(root, partition_file(0))
    with pytest.raises(IntegrityError, match=r"part-00000\.arrow: schema differs"):
        Corpus(root)


@pytest.mark.parametrize(
    ("tokens", "source_ids", "reason"),
    [
        ([[1], []], [1, 2], "a document without tokens"),
        ([[1], [2]], [1, None], "values are missing"),
    ],
)
def test_a_document_without_tokens_or_source_is_refused(root, tokens, source_ids, reason):
    schema = document_schema("uint16")
    columns = [
        pa.array(source_ids, pa.uint64()),
        pa.array([0, 0], pa.uint32()),
        pa.array([0, 0], pa.uint64()),
        pa.array([bytes(16)] * 2, pa.binary(16)),
        pa.array(tokens, schema.field("tokens").type),
    ]
    with pa.ipc.new_file(root / partition_file(0), schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    record_again(root, partition_file(0))
    with pytest.raises(IntegrityError, match=rf"part-00000\.arrow: {reason}"):
        Corpus(root)


def test_no_flipped_bit_ends_in_anything_but_a_named_refusal_or_other_contents(tmp_path):
    """Contents are for the checksums of data_prep.verify; the index must never lead astray."""
    root = write_corpus(tmp_path / "corpus", counted_texts(2), num_partitions=1)
    path = root / partition_file(0)
    whole = path.read_bytes()
    refusals = []
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.unlink()
        path.write_bytes(changed)
        try:
            corpus = Corpus(root)
        except IntegrityError as error:
            refusals.append(str(error))
            continue
        for number in range(corpus.num_documents):
            assert len(corpus.tokens(number)) == corpus.lengths[number] >= 1
    assert len(refusals) > 50
    assert all(str(root) in message for message in refusals)
