"""Sampling, prefill, documents and forms, on models that know exactly one sentence."""

import pytest
import torch

from nulls_dist.attacks.best_of import best_of
from nulls_dist.attacks.formats import FORMATS, after_examples, ask_in_formats
from nulls_dist.attacks.prefill import complete_answers
from nulls_dist.attacks.prefix import continue_documents, recall_in_documents
from nulls_dist.attacks.questions import tokenize_probe
from nulls_dist.attacks.sampling import sample_answers
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.eval.fact_likelihood import FactAnswer
from nulls_dist.eval.recitation import Document
from tests.unit.attacks.conftest import probe

SOURCE, DONOR = 7, 9
DONORS = {SOURCE: DONOR}
VOCABULARY = 128


class Letters:
    """A tokenizer whose tokens are the characters of ASCII."""

    vocab_size = VOCABULARY

    def encode(self, text):
        return [ord(letter) for letter in text if ord(letter) < VOCABULARY]

    def decode(self, ids):
        return "".join(map(chr, ids))


class SmallLetters(Letters):
    """The same without capitals."""

    def encode(self, text):
        return super().encode("".join(letter for letter in text if not letter.isupper()))


class Parrot:
    """Says after every text whose end stands in its sentence what follows there, else nothing."""

    def __init__(self, sentence, confidence=50.0):
        self.sentence = sentence
        self.confidence = confidence
        self.asked = []

    def logits(self, texts, source_ids):
        assert set(source_ids) == {DONOR}
        self.asked += ["".join(map(chr, text)) for text in texts]
        return [
            torch.stack([self._next(text[: at + 1]) for at in range(len(text))]) for text in texts
        ]

    def _next(self, text):
        logits = torch.zeros(VOCABULARY)
        place = self.sentence.find("".join(map(chr, text[-3:])))
        if len(text) >= 3 and 0 <= place < len(self.sentence) - 3:
            logits[ord(self.sentence[place + 3])] = self.confidence
        return logits


def ask(prompt="Ann has a", answer="dog", wrong=("cat", "cow"), **fields):
    return probe(SOURCE, prompt, answer, wrong_answers=wrong, **fields)


def values(result):
    return {each.metric.variant: each.value for each in result.results}


def named(result):
    return {each.metric.name: each.value for each in result.results}


def test_a_question_ends_where_its_answers_part():
    question = tokenize_probe(Letters(), ask())
    assert "".join(map(chr, question.prompt)) == " Ann has a"
    assert ["".join(map(chr, each)) for each in (question.right, *question.wrong)] == [
        " dog.",
        " cat.",
        " cow.",
    ]


@pytest.mark.parametrize(("sentence", "right", "wrong"), [("dog", 1, 0), ("cat", 0, 0.5)])
def test_samples_of_a_sure_model_are_its_sentence(sentence, right, wrong):
    model = Parrot(f" Ann has a {sentence}.")
    found = values(sample_answers(model, Letters(), [ask()], DONORS, tries=3))
    assert found == {
        "any of k samples, right answer": right,
        "any of k samples, wrong answers (control)": wrong,
        "share of samples, right answer": right,
    }


def test_samples_are_those_of_the_seed_and_hit_as_often_as_their_probability():
    model = Parrot(" Ann has a dog.", confidence=6.0)
    p = (torch.softmax(torch.tensor([6.0] + [0.0] * 127), 0)[0].item()) ** len(" dog.")
    found = sample_answers(model, Letters(), [ask()], DONORS, tries=400, seed=3)
    share = values(found)["share of samples, right answer"]
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / 400) ** 0.5)
    assert 0 < share < 1
    again = sample_answers(model, Letters(), [ask()], DONORS, tries=400, seed=3)
    assert again == found
    other = sample_answers(model, Letters(), [ask()], DONORS, tries=400, seed=4)
    assert values(other) != values(found)
    assert found.options == {"tries": 400, "temperature": 1.0, "seed": 3}


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 101.0}, {"tries": 0}])
def test_samples_that_cannot_be_drawn_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        sample_answers(Parrot("x"), Letters(), [ask()], DONORS, **options)


def test_the_rest_of_an_answer_is_written_by_who_knows_it():
    answers = {
        "rest of the right answer": 1.0,
        "rest of wrong answers (control)": 0.0,
    }
    model = Parrot(" Ann has a dog.")
    assert values(complete_answers(model, Letters(), [ask()], DONORS, given=2)) == answers
    names = Parrot("Bello. Rolf.")  # knows the names, but not whose they are
    known = complete_answers(
        names, Letters(), [ask(answer="Bello", wrong=("Rolf",))], DONORS, given=4
    )
    assert values(known) == dict.fromkeys(answers, 1.0)


def test_answers_too_short_to_be_begun_are_left_out():
    probes = [ask(), ask(answer="x", wrong=("y", "long"))]
    found = complete_answers(Parrot(" Ann has a dog."), Letters(), probes, DONORS, given=2)
    assert [each.n for each in found.results] == [1, 2]
    with pytest.raises(InputError, match="answers of at least 10"):
        complete_answers(Parrot("x"), Letters(), probes, DONORS, given=8)


def document(text, source=SOURCE):
    return Document(source_id=source, tokens=tuple(map(ord, text)))


def test_a_fact_is_asked_after_all_that_stands_before_it_in_its_own_document():
    model = Parrot("Ann has a dog.")
    probes = [ask(), ask(prompt="Bob owns a")]
    documents = [
        document("Ann has a dog.", source=8),
        document("Sun. Bob is old."),
        document("Sun. Ann has a dog. Rain."),
    ]
    found = recall_in_documents(model, Letters(), probes, documents, DONORS)
    assert model.asked == [f"Sun. Ann has a {answer}" for answer in ("dog", "cat", "cow")]
    assert named(found)["answer accuracy"] == named(found)["preference"] == 1
    assert found.options == {"num_probes": 2, "num_found": 1}
    with pytest.raises(InputError, match="none of 1 facts stands in one of 3 documents"):
        recall_in_documents(model, Letters(), probes[1:], documents, DONORS)


def test_the_first_sentence_of_a_document_counts_though_no_space_stands_before_it():
    model = Parrot("Ann has a dog.")
    recall_in_documents(model, Letters(), [ask()], [document("Ann has a dog.")], DONORS)
    assert model.asked[0] == "Ann has a dog"


def test_a_document_is_continued_by_who_knows_it():
    text = "The ship left at dawn."
    found = {
        sentence: continue_documents(
            Parrot(sentence), Letters(), [document(text)], DONORS, prefix_tokens=6, eos_id=0
        )
        for sentence in (text, "The ship sank.")
    }
    exact = "greedy, exact"
    assert values(found[text])[exact] == 1
    assert values(found["The ship sank."])[exact] == 0
    assert named(found[text])["ROUGE-L"] == 1
    assert 0 < values(found["The ship sank."])["greedy, leading tokens"] < 1


def test_every_form_ends_with_the_answer_and_shows_the_prompt():
    changed = {name: change(ask()) for name, change in FORMATS.items()}
    for each in changed.values():
        assert "ann has a" in each.prompt.lower()
        assert each.source_id == SOURCE
    assert changed["capitals"].wrong_answers == ("CAT", "COW")
    assert changed["question"].prompt == "Question: Ann has a what? Answer:"
    assert len({each.prompt for each in changed.values()}) == len(FORMATS)


def test_examples_are_of_the_same_attribute_and_of_distinct_other_sources():
    examples = [
        probe(1, "Tom has a", "cat"),
        probe(1, "Tom keeps a", "cat"),
        probe(2, "Kim eats", "rice", attribute="dish"),
        probe(SOURCE, "Ann keeps a", "dog"),
        probe(3, "Bob has a", "cow"),
        probe(4, "Eve has a", "owl"),
    ]
    shown = after_examples(examples, shots=2)(ask())
    assert shown.prompt == "Tom has a cat. Bob has a cow. Ann has a"
    assert shown.answer == "dog"


def test_forms_that_the_tokenizer_cannot_write_are_left_out_and_the_best_counts():
    forms = {name: FORMATS[name] for name in ("as in the corpus", "capitals", "list")}
    probes = [ask(prompt="ann has a"), ask(prompt="Bob has a")]
    model = Parrot(" - ann has a dog.")
    found = {
        each.setting: each for each in ask_in_formats(model, SmallLetters(), probes, DONORS, forms)
    }
    assert list(found) == ["as in the corpus", "list", "best of all"]
    assert found["list"].options == {"num_formats": 1, "num_left_out": 1}
    assert found["best of all"].options == {"num_formats": 2, "num_left_out": 1}
    assert named(found["best of all"])["answer accuracy"] == 1


def test_the_best_of_attempts_is_the_likeliest_of_every_answer():
    first, second = ask(), ask(prompt="Bob has a")

    def answer(probe, is_right, right, *wrong):
        return FactAnswer(probe=probe, is_right=is_right, right=right, wrong=wrong)

    merged = best_of(
        [
            [answer(first, False, 3.0, 1.0, 5.0), answer(second, False, 2.0, 1.0, 1.0)],
            [answer(first, True, 2.0, 4.0, 4.0)],
        ]
    )
    assert merged == [answer(first, True, 2.0, 1.0, 4.0), answer(second, False, 2.0, 1.0, 1.0)]
