"""The corpus manifest and layout: versions, types and names are checked on read."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.data.format import (
    MANIFEST_FILE,
    SOURCES_FILE,
    partition_file,
    partition_of,
    read_manifest,
    token_type_for,
)
from nulls_dist.errors import IntegrityError
from nulls_dist.routing.router import NUM_BUCKETS
from tests.corpus_contents import edit_manifest
from tests.corpus_factory import counted_texts, write_corpus


@pytest.fixture
def root(tmp_path):
    return write_corpus(tmp_path / "corpus", counted_texts(3), num_partitions=2)


def test_a_manifest_survives_the_disk(root):
    manifest = read_manifest(root)
    assert json.loads(json.dumps(manifest.to_dict())) == json.loads(
        (root / MANIFEST_FILE).read_text()
    )
    assert manifest.num_sources == 3
    assert manifest.files[0].path == partition_file(0)


def test_the_fingerprint_changes_with_the_documents_but_not_with_the_source_table(root):
    before = read_manifest(root).fingerprint
    content = json.loads((root / MANIFEST_FILE).read_text())
    files = {entry["path"]: entry for entry in content["files"]}
    files[SOURCES_FILE]["sha256"] = "1" * 64
    edit_manifest(root, files=list(files.values()))
    assert read_manifest(root).fingerprint == before
    files[partition_file(0)]["sha256"] = "1" * 64
    edit_manifest(root, files=list(files.values()))
    assert read_manifest(root).fingerprint != before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("format_version", None),
        ("router_version", 2),
        ("num_partitions", "2"),
        ("num_documents", 6.0),
        ("router_seed", True),
        ("corpus", 7),
        ("token_type", "uint64"),
        ("token_type", ["uint16"]),
        ("tokenizer", "spm.model"),
        ("tokenizer", {"kind": "hf"}),
        ("files", [{"path": "partitions/part-00000.arrow"}]),
        ("files", ["partitions/part-00000.arrow"]),
        ("files", 3),
        ("build", []),
        ("surprise", 1),
    ],
)
def test_a_manifest_of_another_version_or_type_is_refused_by_file_and_field(root, field, value):
    edit_manifest(root, **{field: value})
    with pytest.raises(IntegrityError) as caught:
        read_manifest(root)
    assert str(root / MANIFEST_FILE) in str(caught.value)


def test_a_type_that_differs_is_named_with_its_field(root):
    edit_manifest(root, num_partitions="2")
    with pytest.raises(IntegrityError, match=r"num_partitions \('2'\) is not of type"):
        read_manifest(root)


def test_a_manifest_without_a_field_is_refused(root):
    content = json.loads((root / MANIFEST_FILE).read_text())
    del content["cleaner"]
    (root / MANIFEST_FILE).write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match="cleaner"):
        read_manifest(root)


def test_no_changed_character_of_a_manifest_is_overlooked(root):
    path = root / MANIFEST_FILE
    whole, before = path.read_bytes(), read_manifest(root)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if whole[place : place + 1].isspace():
            continue
        with pytest.raises(IntegrityError, match=re.escape(str(path))):
            read_manifest(root)
    path.write_bytes(whole)
    assert read_manifest(root) == before


@given(st.sampled_from([1, 2, 16, 64, 4096]), st.integers(0, NUM_BUCKETS - 1))
def test_a_partition_holds_an_equal_range_of_buckets(num_partitions, bucket):
    partition = partition_of(bucket, num_partitions)
    width = NUM_BUCKETS // num_partitions
    assert partition * width <= bucket < (partition + 1) * width


@pytest.mark.parametrize(("size", "kind"), [(1, "uint16"), (65_536, "uint16"), (65_537, "uint32")])
def test_the_token_type_is_the_smallest_that_holds_the_vocabulary(size, kind):
    assert token_type_for(size) == kind
