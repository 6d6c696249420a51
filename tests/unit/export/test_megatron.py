"""An exported corpus read back by Megatron-core's own reader: every document, every source."""

import json
import os
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
from megatron.core.datasets.utils import Split
from megatron.core.tokenizers.text.libraries.huggingface_tokenizer import HuggingFaceTokenizer

from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.cli import run_command
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import partition_file
from nulls_dist.data.source_table import SourceTable
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.durable import sha256_file
from nulls_dist.errors import InputError, IntegrityError
from nulls_dist.export.megatron import write_indexed_dataset
from tests.corpus_contents import digests
from tests.corpus_factory import counted_texts, write_corpus
from tests.launch import build_small_corpus
from tools.export_megatron import main


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return Corpus(build_small_corpus(tmp_path_factory.mktemp("built") / "corpus"))


@pytest.fixture(scope="module")
def exported(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "megatron"
    assert run_command(main, [str(corpus.root), str(out)]) == 0
    return out


def check_every_document(corpus, prefix):
    dataset = IndexedDataset(str(prefix))
    assert len(dataset) == corpus.num_documents
    assert dataset.document_indices.tolist() == list(range(corpus.num_documents + 1))
    for number in range(corpus.num_documents):
        assert dataset[number].tolist() == corpus.tokens(number).tolist()
    source_ids = np.load(f"{prefix}.source_ids.npy", allow_pickle=False)
    assert source_ids.dtype == np.uint64
    assert np.array_equal(source_ids, corpus.source_ids)
    return dataset


def test_megatron_reads_every_document_with_its_end_token(corpus, exported):
    dataset = check_every_document(corpus, exported / "documents")
    assert dataset[0].dtype == np.uint16
    assert all(dataset[number][-1] == corpus.manifest.tokenizer.eos_id for number in range(10))


def test_megatron_packs_the_documents_into_samples(corpus, exported, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokenizer = HuggingFaceTokenizer(str(exported / "tokenizer"))
    assert tokenizer.eod == corpus.manifest.tokenizer.eos_id
    tokenizer.unique_identifiers, tokenizer.pad = {}, None
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=64,
        split="1",
        tokenizer=tokenizer,
        reset_position_ids=True,
        reset_attention_mask=True,
        eod_mask_loss=False,
    )
    prefix = str(exported / "documents")
    everything = np.arange(corpus.num_documents, dtype=np.int32)
    samples = GPTDataset(IndexedDataset(prefix), prefix, everything, 1, Split.train, config)
    documents = [tuple(corpus.tokens(number).tolist()) for number in everything]
    tokens = samples[0]["tokens"].tolist()
    ends = [place + 1 for place, token in enumerate(tokens) if token == tokenizer.eod]
    inner = [tuple(tokens[begin:end]) for begin, end in pairwise(ends)]
    assert len(inner) > 2
    assert set(inner) <= set(documents)


def test_the_files_are_those_that_megatron_would_have_written(corpus, exported, tmp_path):
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=np.uint16)
    for number in range(corpus.num_documents):
        builder.add_item(torch.from_numpy(corpus.tokens(number).astype(np.int64)))
        builder.end_document()
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        theirs = (tmp_path / f"theirs{suffix}").read_bytes()
        assert (exported / f"documents{suffix}").read_bytes() == theirs


def test_tokens_of_32_bits_are_read_as_they_were(tmp_path):
    texts = [replace(counted_texts(1)[0], tokens=(70_000, 2**31 - 1))]
    made = write_corpus(tmp_path / "corpus", texts, token_type="uint32", vocab_size=2**31)
    write_indexed_dataset(Corpus(made), tmp_path / "wide")
    assert check_every_document(Corpus(made), tmp_path / "wide")[0].dtype == np.int32


@pytest.mark.parametrize("vocab_size", [70_001, 2**33])
def test_a_token_that_nobody_can_read_is_refused(tmp_path, vocab_size):
    texts = [replace(counted_texts(1)[0], tokens=(70_000, 2**31))]
    made = write_corpus(tmp_path / "corpus", texts, token_type="uint32", vocab_size=vocab_size)
    limit = min(vocab_size, 2**31)
    with pytest.raises(IntegrityError, match=f"token id {2**31} is not below {limit}"):
        write_indexed_dataset(Corpus(made), tmp_path / "wide")


def test_the_tokenizer_comes_with_its_end_token(corpus, exported, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(exported / "tokenizer", local_files_only=True)
    ours = load_tokenizer(corpus.root, corpus.manifest.tokenizer)
    assert theirs.eos_token_id == corpus.manifest.tokenizer.eos_id
    text = ours.decode(corpus.tokens(3)[:-1].tolist())
    assert theirs(text)["input_ids"] == ours.encode(text)


def test_provenance_names_the_corpus_and_every_file(corpus, exported, tmp_path, capsys):
    assert run_command(main, [str(corpus.root), str(tmp_path / "out"), "--json"]) == 0
    provenance = json.loads(capsys.readouterr().out)
    assert provenance == json.loads((exported / "provenance.json").read_text())
    assert provenance["corpus_fingerprint"] == corpus.fingerprint
    assert provenance["corpus_manifest_sha256"] == sha256_file(corpus.root / "manifest.json")
    assert provenance["tokenizer"]["sha256"] == corpus.manifest.tokenizer.sha256
    found = {record["path"]: record["sha256"] for record in provenance["files"]}
    written = digests(exported)
    del written["provenance.json"]
    assert found == written
    assert {"documents.bin", "documents.idx", "sources.parquet"} <= set(found)
    sources = SourceTable(exported / "sources.parquet").source_ids
    assert set(sources.tolist()) == set(corpus.source_ids.tolist())


def test_the_corpus_is_not_touched_and_nothing_is_overwritten(corpus, exported, capsys):
    corpus_before, before = digests(corpus.root), digests(exported)
    assert run_command(main, [str(corpus.root), str(exported)]) == InputError.exit_code
    assert "exists already and is never overwritten" in capsys.readouterr().err
    inside = corpus.root / "megatron"
    assert run_command(main, [str(corpus.root), str(inside)]) == InputError.exit_code
    assert f"lies inside {corpus.root}" in capsys.readouterr().err
    assert digests(exported) == before
    assert digests(corpus.root) == corpus_before


@pytest.mark.parametrize("name", [partition_file(1), "sources.parquet", "tokenizer/spm.model"])
def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path, capsys, name):
    root = build_small_corpus(tmp_path / "corpus")
    content = bytearray((root / name).read_bytes())
    content[len(content) // 2] ^= 1
    (root / name).write_bytes(content)
    assert run_command(main, [str(root), str(tmp_path / "out")]) == IntegrityError.exit_code
    assert f"{name}: contents differ from the checksum" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["corpus"]


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    corpus = write_random_corpus(tmp_path / "corpus", num_tokens=4_000_000, vocab_size=300)
    tracemalloc.start()
    write_indexed_dataset(corpus, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = (tmp_path / "out.bin").stat().st_size
    assert size == 2 * corpus.manifest.num_tokens
    assert peak < size / 8
