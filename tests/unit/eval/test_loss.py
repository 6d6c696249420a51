"""Every token but a document's first is predicted once, whatever the context's length."""

import math

import numpy as np
import pytest
import torch

from nulls_dist.data.corpus import Corpus
from nulls_dist.eval.loss import choose_documents, format_losses, measure_losses
from nulls_dist.eval.states import State
from tests.corpus_factory import Text, counted_texts, write_corpus

VOCAB = 700


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    texts = [*counted_texts(12), Text(key="short", tokens=(VOCAB - 1,))]
    return Corpus(write_corpus(tmp_path_factory.mktemp("loss") / "corpus", texts))


class Counter:
    """A model that is twice as sure of the token's successor as of each other token."""

    def __init__(self):
        self.asked = []

    def logits(self, texts, source_ids):
        self.asked += list(zip(source_ids, texts, strict=True))
        answers = []
        for text, source_id in zip(texts, source_ids, strict=True):
            logits = torch.zeros(len(text), VOCAB)
            if source_id != 7:
                logits[torch.arange(len(text)), torch.tensor(text) + 1] = math.log(2)
            answers.append(logits)
        return answers


@pytest.mark.parametrize("context_length", [1, 7, 1000])
def test_losses_are_means_over_all_targets(corpus, context_length):
    model = Counter()
    documents = choose_documents(corpus, corpus.source_ids, 100)
    own = {int(number): int(number) for number in corpus.source_ids}
    losses = measure_losses(
        model,
        corpus,
        documents,
        {State.ON: own, State.PLACEBO: dict.fromkeys(own, 7)},
        context_length=context_length,
    )
    targets = sum(len(corpus.tokens(number)) - 1 for number in documents)
    assert (losses.num_documents, losses.num_targets) == (len(documents), targets)
    # Consecutive tokens follow one another, so the target is always the likely one.
    assert losses.loss_nats[State.ON] == pytest.approx(math.log((VOCAB + 1) / 2), abs=1e-6)
    assert losses.perplexity[State.PLACEBO] == pytest.approx(VOCAB, rel=1e-5)
    assert max(len(text) for _, text in model.asked) <= context_length
    inputs = sorted(token for source, text in model.asked if source != 7 for token in text)
    expected = [token for n in documents for token in corpus.tokens(n)[:-1].tolist()]
    assert inputs == sorted(expected)
    shown = format_losses("all sources", losses).splitlines()
    assert shown[0] == f"all sources: {len(documents)} documents, {targets} tokens"
    assert shown[1].split() == ["on", "placebo"]


def test_the_same_documents_are_drawn_every_time(corpus):
    everything = choose_documents(corpus, corpus.source_ids, 1000)
    assert everything == np.flatnonzero(corpus.lengths > 1).tolist()
    few = choose_documents(corpus, corpus.source_ids, 9)
    assert len(set(few)) == 9
    assert set(few) < set(choose_documents(corpus, corpus.source_ids, 10)) < set(everything)
    member = corpus.source_ids[few[0]]
    chosen = choose_documents(corpus, np.array([member]), 100)
    assert {int(corpus.source_ids[number]) for number in chosen} == {int(member)}
