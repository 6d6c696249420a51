"""Four formats hold the same documents, and reading them is measured and cleaned up after."""

import json

import numpy as np
import pytest

from nulls_dist.benchmark.corpus import format_corpus
from nulls_dist.benchmark.corpus_readers import READERS
from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.cli import run_command
from nulls_dist.errors import InputError
from tests.corpus_contents import digests
from tools import bench


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("random") / "corpus"
    return write_random_corpus(root, num_tokens=1_000_000, vocab_size=300)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_gives_every_token_of_the_corpus(name, corpus, tmp_path):
    reader = READERS[name](READERS[name].write(corpus, tmp_path))
    blocks = list(reader.blocks())
    assert np.array_equal(np.concatenate(blocks), np.concatenate(list(corpus.token_blocks())))
    for document in (corpus.num_documents - 1, 0, 999, 1000, 7):
        tokens = reader.tokens(document)
        assert tokens.tolist() == corpus.tokens(document).tolist()
        assert tokens.dtype == np.uint16


def test_all_formats_are_measured_on_a_given_corpus(corpus, tmp_path, capsys):
    before = digests(corpus.root)
    words = ["--data", str(corpus.root), "--rounds", "1", "--work", str(tmp_path)]
    assert run_command(bench.main, ["corpus", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []
    assert digests(corpus.root) == before
    assert result["documents"] == corpus.num_documents
    assert set(result["formats"]) == set(READERS)
    for row in result["formats"].values():
        assert min(value for name, value in row.items() if "_per_" in name) > 0
    ours, megatron = (result["formats"][name] for name in ("nulls-dist", "Megatron .bin"))
    partitions = (corpus.root / "partitions").iterdir()
    assert ours["bytes"] == sum(path.stat().st_size for path in partitions)
    assert 2 < megatron["bytes"] / corpus.manifest.num_tokens < 2.1
    ratio = result["against_megatron"]
    assert ratio["bytes"] == pytest.approx(ours["bytes"] / megatron["bytes"])
    name = "random_documents_per_s"
    assert ratio[name] == pytest.approx(ours[name] / megatron[name])
    assert f"random {ratio[name]:.2f}x" in format_corpus(result)


def test_what_is_no_corpus_is_refused(tmp_path, capsys):
    words = ["corpus", f"--data={tmp_path}", f"--work={tmp_path / 'work'}"]
    assert run_command(bench.main, words) == InputError.exit_code
    assert "is not a corpus" in capsys.readouterr().err
