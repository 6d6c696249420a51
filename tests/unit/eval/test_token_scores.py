"""The end of a text is scored by what a model says of each of its tokens."""

import math

import pytest
import torch

from nulls_dist.eval.token_scores import Passage, score_passages

VOCAB = 11


class Bigrams:
    """A model in which the next token depends on the last one and on the source alone."""

    def __init__(self):
        self.table = torch.randn(3, VOCAB, VOCAB)
        self.sizes = []

    def logits(self, texts, source_ids):
        self.sizes.append(sum(map(len, texts)))
        return [self.table[s][torch.tensor(t)] for t, s in zip(texts, source_ids, strict=True)]

    def share(self, source, token, following):
        row = self.table[source, token].double().exp()
        return float(row[following] / row.sum())


def random_passages(num=40):
    passages = []
    for number in range(num):
        length = int(torch.randint(2, 12, ()))
        tokens = torch.randint(0, VOCAB, (length,)).tolist()
        start = int(torch.randint(1, length, ()))
        passages.append(Passage(tokens=tokens, start=start, source_id=number % 3))
    return passages


@pytest.mark.parametrize("batch_tokens", [1, 20, 10_000])
def test_scores_are_products_of_shares_in_the_order_of_the_texts(batch_tokens):
    model, passages = Bigrams(), random_passages()
    scores = score_passages(model, passages, batch_tokens=batch_tokens, unit="texts")
    for score, passage in zip(scores, passages, strict=True):
        pairs = list(zip(passage.tokens, passage.tokens[1:], strict=False))[passage.start - 1 :]
        shares = [model.share(passage.source_id, *pair) for pair in pairs]
        assert score.log_likelihood == pytest.approx(math.log(math.prod(shares)), abs=1e-5)
        best = [int(model.table[passage.source_id, before].argmax()) for before, _ in pairs]
        assert score.is_greedy == (best == list(passage.tokens[passage.start :]))
    longest = max(len(passage.tokens) for passage in passages) - 1
    assert max(model.sizes) <= max(batch_tokens, longest)
    assert sum(model.sizes) == sum(len(passage.tokens) - 1 for passage in passages)


def test_a_text_that_the_model_would_write_is_greedy():
    model, tokens = Bigrams(), [0]
    for _ in range(5):
        tokens.append(int(model.table[1, tokens[-1]].argmax()))
    other = [*tokens[:-1], (tokens[-1] + 1) % VOCAB]
    passages = [Passage(tokens=text, start=2, source_id=1) for text in (tokens, other)]
    scores = score_passages(model, passages, batch_tokens=100, unit="texts")
    assert [score.is_greedy for score in scores] == [True, False]
