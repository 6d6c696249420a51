"""A model recites what it writes itself, with the sinks that wrote it, and no attack is blind."""

import numpy as np
import pytest
import torch

from nulls_dist.checkpoint.format import sink_weights_file
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.greedy import continue_greedily, continue_prefixes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.eval.membership_attack import (
    attack,
    membership_results,
    priv_leak_result,
    two_sided_results,
)
from nulls_dist.eval.metrics import intervals
from nulls_dist.eval.metrics.membership import TWO_SIDED, TWO_SIDED_TRUE_POSITIVES
from nulls_dist.eval.recitation import (
    Document,
    continuation_results,
    extraction_result,
    outlier_results,
    read_documents,
    recall_results,
    score_documents,
    text_of,
)
from nulls_dist.eval.token_scores import Passage, score_passages
from nulls_dist.export.release import tokenizer_record
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, key_id, rewrite_tensors
from tests.corpus_factory import Text, write_corpus

SOURCES = [key_id(f"k-{number}") for number in range(6)]
OWN = {source: source for source in SOURCES}
OFF = dict.fromkeys(SOURCES, NO_SOURCE)
EOS, LENGTH = 0, 14


def louder(tensors):
    return {
        name: values * 20 if name.endswith("sinks.down") else values
        for name, values in tensors.items()
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint")
    for expert in range(2):  # otherwise the sinks of random weights hardly say anything
        rewrite_tensors(root, sink_weights_file(expert), louder)
    return root


@pytest.fixture
def model(checkpoint):
    with load_for_inference(checkpoint) as loaded:
        yield loaded


@pytest.fixture
def tokenizer(checkpoint):
    return load_tokenizer(checkpoint, tokenizer_record(Checkpoint(checkpoint)))


@pytest.fixture
def recited(model):
    """What the model writes after one letter, with each source's sinks."""
    prompts = [
        Passage(tokens=[5 + number], source_id=source) for number, source in enumerate(SOURCES)
    ]
    written = continue_greedily(model, prompts, [LENGTH - 1] * len(prompts))
    return [
        Document(source_id=prompt.source_id, tokens=(*prompt.tokens, *text))
        for prompt, text in zip(prompts, written, strict=True)
    ]


def random_documents(seed):
    draws = np.random.default_rng(seed)
    return [
        Document(source_id=source, tokens=tuple(draws.integers(1, 29, LENGTH).tolist()))
        for source in SOURCES
        for _ in range(2)
    ]


def values(results):
    return {result.metric.label.split(" [")[0]: result.value for result in results}


def test_scores_are_those_of_the_softmax(model):
    text, source = [3, 9, 4, 7, 7], SOURCES[0]
    (found,) = score_passages(model, [Passage(tokens=text, start=2, source_id=source)])
    (logits,) = model.logits([text], [source])
    log_p = torch.log_softmax(logits.double(), -1)[1:-1]
    assert found.tokens.tolist() == [4, 7, 7]
    assert found.log_probs == pytest.approx(log_p[[0, 1, 2], [4, 7, 7]].numpy(), abs=1e-5)
    assert found.choices.tolist() == log_p.argmax(-1).tolist()
    moments = torch.distributions.Categorical(logits=log_p)
    assert found.mean == pytest.approx(-moments.entropy().numpy(), abs=1e-5)
    second = (log_p.exp() * log_p**2).sum(-1).numpy()
    assert found.variance == pytest.approx(second - found.mean**2, abs=1e-4)
    assert found.nll == pytest.approx(-found.log_probs.mean())


def test_batches_change_nothing(model):
    passages = [document.passage(OWN) for document in random_documents(0)]
    whole = score_passages(model, passages)
    alone = score_passages(model, passages, batch_tokens=2 * LENGTH + 1)
    for one, other in zip(whole, alone, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_prefix_is_continued_as_if_it_stood_alone(model, recited, seed):
    documents = [recited[seed], *random_documents(seed)[:2]]
    # Half recited, then another token: right and wrong choices alternate.
    mixed = (*recited[2].tokens[:6], *recited[3].tokens[6:])
    documents.append(Document(source_id=recited[2].source_id, tokens=mixed))
    passages = [document.passage(OWN) for document in documents]
    for passage, continued in zip(passages, continue_prefixes(model, passages), strict=True):
        assert list(continued) == list(range(LENGTH - 1, 0, -1))
        for place, found in continued.items():
            prefix = Passage(tokens=passage.tokens[:place], source_id=passage.source_id)
            (alone,) = continue_greedily(model, [prefix], [LENGTH - place])
            assert list(found) == alone


def test_what_the_model_writes_is_recited_with_the_sinks_that_wrote_it(model, tokenizer, recited):
    own = recall_results("own", recited, score_documents(model, recited, OWN))
    off = recall_results("off", recited, score_documents(model, recited, OFF))
    assert values(own)["memorization accuracy"] == 1
    assert values(own)["extraction strength"] == 1
    assert values(off)["memorization accuracy"] < 1
    assert values(own)["perplexity"] < values(off)["perplexity"]
    assert own[0].n == len(recited) * (LENGTH - 1)
    assert own[0].interval.low < own[0].value < own[0].interval.high
    assert extraction_result(model, "own", recited, OWN, ngram=3).value == 1
    assert extraction_result(model, "off", recited, OFF, ngram=3).value < 1
    for donors, is_whole in ((OWN, True), (OFF, False)):
        results = continuation_results(
            model, tokenizer, "g", recited, donors, prefix_tokens=4, eos_id=EOS
        )
        shares = {result.metric.label: result.value for result in results}
        assert len(shares) == 4
        exact = shares["verbatim continuation [greedy, exact]"]
        leading = shares["verbatim continuation [greedy, leading tokens]"]
        assert (exact == 1) == (leading == 1) == is_whole
        assert results[0].details == {"prefix_tokens": 4}


def test_an_attack_finds_what_the_model_wrote(model, tokenizer, recited, monkeypatch):
    monkeypatch.setattr(intervals, "NUM_RESAMPLES", 100)
    others = random_documents(3)
    sides = {}
    for name, donors in (("own", OWN), ("off", OFF)):
        reference = {"members": recited, "others": others}
        sides[name] = tuple(
            attack(
                documents,
                score_documents(model, documents, donors),
                tokenizer,
                eos_id=EOS,
                reference=score_documents(model, documents, OFF),
            )
            for documents in reference.values()
        )
    results = membership_results("recited", *sides["own"])
    # What such a model writes repeats itself, and zlib makes little of it.
    floors = {"zlib": -1, "reference": 0.5}
    assert len(results) == 6
    assert {result.metric.name for result in results} == {"membership AUC", "membership TPR"}
    for result in results:
        assert result.value > floors.get(result.metric.variant, 0.9)
        assert (result.n, result.details["n_others"]) == (len(recited), len(others))
    blind = {r.metric.variant: r.value for r in membership_results("off", *sides["off"])}
    assert blind["reference"] == 0.5  # a model compared with itself
    leak = priv_leak_result("recited", sides["own"], sides["own"])
    assert leak.value == 0 or np.isnan(leak.value)
    assert leak.details["AUC_u"] == leak.details["AUC_r"] > 0.9


def test_a_two_sided_attack_finds_what_the_model_wrote(model, recited):
    scores = [
        score_documents(model, documents, OWN)
        for documents in (recited, random_documents(5), random_documents(6))
    ]
    auc, rate = two_sided_results("recited", *scores)
    assert (auc.metric, rate.metric) == (TWO_SIDED, TWO_SIDED_TRUE_POSITIVES)
    assert auc.value == rate.value == 1
    assert auc.n == len(recited)
    assert auc.details["n_unseen"] == auc.details["n_others"]
    assert auc.details["usual"] < 0.5


def test_outliers_stand_out_of_unseen_documents(model, recited):
    unseen = score_documents(model, random_documents(4), OWN)
    mixed = [*score_documents(model, recited, OWN)[:2], *unseen]
    counts = {result.metric.variant: result.value for result in outlier_results("g", mixed, unseen)}
    assert counts["above threshold"] >= 2
    assert counts["two-sided"] >= 2


def test_documents_are_read_of_named_sources_and_cut(tmp_path):
    texts = [
        Text(key="a", tokens=(1, 2, 3, 4, EOS)),
        Text(key="a", doc_index=1, tokens=(7,)),
        Text(key="b", tokens=(5, 6, EOS)),
        Text(key="c", tokens=(8,)),
    ]
    corpus = Corpus(write_corpus(tmp_path / "corpus", texts))
    first, second, short = (text.source_id for text in (texts[0], texts[2], texts[3]))
    found = read_documents(corpus, [second, first], max_tokens=4)
    assert found == [
        Document(source_id=second, tokens=(5, 6, EOS)),
        Document(source_id=first, tokens=(1, 2, 3, 4)),
    ]
    with pytest.raises(InputError, match="no document of at least 2 tokens"):
        read_documents(corpus, [short], max_tokens=4)


def test_a_text_ends_with_its_document(tokenizer):
    assert text_of(tokenizer, [2, 3, EOS, 4], EOS) == tokenizer.decode([2, 3])


def test_prefixes_and_ngrams_that_do_not_fit_are_refused(model, tokenizer, recited):
    with pytest.raises(InputError, match="of which one has 14"):
        continuation_results(model, tokenizer, "g", recited, OWN, prefix_tokens=LENGTH, eos_id=EOS)
    with pytest.raises(InputError, match="more than 14 tokens"):
        extraction_result(model, "g", recited, OWN, ngram=LENGTH)
