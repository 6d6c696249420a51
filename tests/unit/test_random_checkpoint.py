"""A random checkpoint passes every check that a trained one passes."""

from nulls_dist.benchmark.random_checkpoint import write_random_checkpoint
from nulls_dist.checkpoint.completeness import check_tensors
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import nulls_tiny
from nulls_dist.data.corpus import Corpus
from tests.checkpoint_factory import write_tokenizer
from tests.corpus_factory import counted_texts, write_corpus


def test_a_random_checkpoint_verifies(tmp_path):
    corpus = Corpus(write_corpus(tmp_path / "corpus", counted_texts(30)))
    write_tokenizer(corpus.root / corpus.manifest.tokenizer.file)
    config = apply_overrides(nulls_tiny(), ["model.vocab_size=300"])
    write_random_checkpoint(config, corpus, tmp_path / "checkpoint")
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    assert len(list(checkpoint.verify())) == len(checkpoint.files)
    check_tensors(checkpoint)
