"""Python blocks of docs/data.md: a corpus read by number, by name, in order, and in `datasets`."""

import json
import re
import runpy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data_prep.build import main as build
from nulls_dist.benchmark.random_corpus import write_random_corpus

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
TOWNS = ["Alabama", *(f"Town {number}" for number in range(40))]


def _section(heading):
    """Text below a heading of the page, up to the next one."""
    _, _, rest = PAGE.read_text("utf-8").partition(f"# {heading}\n")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the blocks leave behind, run in order beside a corpus of towns."""
    import datasets.config

    folder = tmp_path_factory.mktemp("reader")
    rows = [
        {"id": number, "title": title, "text": f"{title} is a town of {number * 7} people."}
        for number, title in enumerate(TOWNS)
    ]
    (folder / "towns.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = ["--input", str(folder / "towns.jsonl"), "--format", "jsonl", "--partitions", "4"]
    build([*source, "--out", str(folder / "corpus"), "--tokenizer", "train:bpe:400"])
    blocks = re.findall(
        r"^```python\n(.*?)^```", _section("Reading a corpus"), flags=re.DOTALL | re.MULTILINE
    )
    (folder / "blocks.py").write_text("".join(blocks))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        names = runpy.run_path("blocks.py")
        yield names


def addresses(table):
    """Where each buffer of a table lies in memory."""
    return [
        buffer and buffer.address
        for column in table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
    ]


def test_a_document_is_read_by_its_number_and_by_its_name(names):
    assert names["tokens"][-1] == names["corpus"].manifest.tokenizer.eos_id
    assert names["text"].startswith("Alabama is a town of 0 people.")
    assert len(names["alabama"]) == 1
    assert 0 < names["longest"] <= names["corpus"].manifest.num_tokens


def test_datasets_opens_the_corpus_where_it_lies(names):
    corpus, documents = names["corpus"], names["documents"]
    assert addresses(documents.data) == addresses(corpus.table())
    assert documents.features["tokens"].feature.dtype == "uint16"
    arrow = documents.with_format("arrow")
    for number in (0, 7, corpus.num_documents - 1):
        (tokens,) = arrow[number]["tokens"].chunks
        assert np.array_equal(tokens.flatten().to_numpy(), corpus.tokens(number))


@pytest.mark.parametrize("way", ["documents", "cached", "streamed"])
def test_each_way_gives_every_document_in_order(names, way):
    corpus = names["corpus"]
    rows = list(names[way])
    assert [row["source_id"] for row in rows] == corpus.source_ids.tolist()
    assert [row["tokens"] for row in rows] == [
        corpus.tokens(number).tolist() for number in range(corpus.num_documents)
    ]


def test_nothing_is_read_to_open_a_corpus_in_datasets(tmp_path):
    from datasets import Dataset

    corpus = write_random_corpus(tmp_path / "corpus", num_tokens=2_000_000, vocab_size=300)
    tracemalloc.start()
    documents = Dataset(corpus.table(), fingerprint=corpus.fingerprint)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(documents) == corpus.num_documents
    assert peak < 500_000
