"""Users of `datasets` open a partition as README.md shows, without a copy of its tokens."""

import re
import runpy
from pathlib import Path

import pyarrow as pa
import pytest

from nulls_dist.data.corpus import Corpus
from tests.corpus_factory import counted_texts, write_corpus

README = Path(__file__).resolve().parents[3] / "README.md"


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """What the one Python block of README.md leaves in `documents`, beside a corpus."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```", README.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    (tmp_path / "block.py").write_text(block)
    write_corpus(tmp_path / "corpus", counted_texts(30), num_partitions=1)
    monkeypatch.chdir(tmp_path)
    before = pa.total_allocated_bytes()
    documents = runpy.run_path("block.py")["documents"]
    assert pa.total_allocated_bytes() == before
    return documents


def test_a_partition_opens_in_datasets_without_a_copy_and_with_every_token(documents):
    corpus = Corpus(Path("corpus"))
    assert len(documents) == corpus.num_documents
    assert documents["source_id"][:] == corpus.source_ids.tolist()
    for number in (0, 7, corpus.num_documents - 1):
        assert documents[number]["tokens"] == corpus.tokens(number).tolist()
