"""A fact is known when every token of the answer and its full stop is the first choice."""

import pytest
import torch

from nulls_dist.eval.facts import Probe, answer_probes

SOURCE, DONOR = 7, 9


class Letters:
    """A tokenizer whose tokens are the characters."""

    vocab_size = 128

    def encode(self, text):
        return [ord(letter) for letter in text]


class Parrot:
    """A model that continues everything as one sentence says, and records what it was asked."""

    def __init__(self, sentence):
        self.sentence = sentence
        self.asked = []

    def logits(self, texts, source_ids):
        self.asked += list(
            zip(["".join(map(chr, text)) for text in texts], source_ids, strict=True)
        )
        answers = []
        for text in texts:
            logits = torch.zeros(len(text), 128)
            for place in range(len(text)):
                if place + 1 < len(self.sentence):
                    logits[place, ord(self.sentence[place + 1])] = 1.0
            answers.append(logits)
        return answers


def probe(answer):
    return Probe(
        source_id=SOURCE,
        fact_id="f",
        kind="unique",
        attribute="dog",
        multiplicity=1,
        member_ids=(SOURCE,),
        held_out=False,
        prompt="Ann has a",
        answer=answer,
    )


@pytest.mark.parametrize(
    ("sentence", "known"),
    [
        (" Ann has a dog.", True),
        (" Bob has a dog.", True),  # only the answer counts
        (" Ann has a dot.", False),
        (" Ann has a dogs", False),  # the full stop belongs to the answer
        (" Ann has an dog.", False),
    ],
)
def test_an_answer_is_right_when_greedy_decoding_would_write_it(sentence, known):
    model = Parrot(sentence)
    assert answer_probes(model, Letters(), [probe("dog")], {SOURCE: DONOR}).tolist() == [known]
    assert model.asked == [(" Ann has a dog", DONOR)]


def test_many_probes_keep_their_order():
    answers = ["dog", "cat"] * 300
    right = answer_probes(
        Parrot(" Ann has a cat."), Letters(), [probe(each) for each in answers], {SOURCE: SOURCE}
    )
    assert right.tolist() == [each == "cat" for each in answers]
