"""Ask for the facts in other forms than those of the corpus.

Phrasings that were held out need no form of their own: results are by phrasing, seen or held-out.
A form that the tokenizer cannot write, such as capitals in a vocabulary of small letters, is left
out for the probes concerned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tqdm import tqdm

from nulls_dist.attacks.best_of import best_of
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.fact_likelihood import FactAnswer, fact_results, weigh_answers
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.token_scores import LanguageModel

NAME: Final = "formats"
NUM_SHOTS: Final = 3

Format = Callable[[Probe], Probe]


def _in_capitals(probe: Probe) -> Probe:
    return replace(
        probe,
        prompt=probe.prompt.upper(),
        answer=probe.answer.upper(),
        wrong_answers=tuple(answer.upper() for answer in probe.wrong_answers),
    )


def _in_small_letters(probe: Probe) -> Probe:
    return replace(
        probe,
        prompt=probe.prompt.lower(),
        answer=probe.answer.lower(),
        wrong_answers=tuple(answer.lower() for answer in probe.wrong_answers),
    )


def _around(template: str) -> Format:
    """Return a form that writes the prompt into a text, which the answer follows."""
    return lambda probe: replace(probe, prompt=template.format(prompt=probe.prompt))


FORMATS: Final[Mapping[str, Format]] = {
    "as in the corpus": lambda probe: probe,
    "capitals": _in_capitals,
    "small letters": _in_small_letters,
    "list": _around("- {prompt}"),
    "quotation": _around('"{prompt}'),
    "question": _around("Question: {prompt} what? Answer:"),
    "instruction": _around("Complete the sentence: {prompt}"),
    "repetition": _around("{prompt} what? {prompt}"),
}


def after_examples(examples: Sequence[Probe], shots: int = NUM_SHOTS) -> Format:
    """Return a form that states facts of the same attribute of other sources first.

    Args:
        examples: facts that the attacker knows, such as of surviving sources; for each probe the
            first ones of distinct other sources are taken.
        shots: at most how many.
    """

    def add(probe: Probe) -> Probe:
        fitting = {
            example.source_id: f"{example.prompt} {example.answer}."
            for example in reversed(examples)
            if example.attribute == probe.attribute and example.source_id != probe.source_id
        }
        shown = list(fitting.values())[::-1][:shots]
        return replace(probe, prompt=" ".join([*shown, probe.prompt]))

    return add


def ask_in_formats(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
    formats: Mapping[str, Format] = FORMATS,
) -> list[AttackResult]:
    """Ask every probe in every form.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: the questions.
        donor_of: whose sinks serve each source.
        formats: name -> form; `after_examples` makes one more.

    Returns:
        One result per form that the tokenizer can write, and the best of them all.

    Raises:
        RefusedError: a donor was deleted.
    """
    attempts: dict[str, list[FactAnswer]] = {}
    for name, change in tqdm(formats.items(), "formats", disable=None, leave=False):
        pairs = [(probe, change(probe)) for probe in probes]
        pairs = [(probe, changed) for probe, changed in pairs if _is_writable(tokenizer, changed)]
        asked = weigh_answers(model, tokenizer, [changed for _, changed in pairs], donor_of)
        attempts[name] = [
            replace(answer, probe=probe) for (probe, _), answer in zip(pairs, asked, strict=True)
        ]
    attempts = {name: answers for name, answers in attempts.items() if answers}
    found = [_result(name, probes, answers, 1) for name, answers in attempts.items()]
    best = best_of(list(attempts.values()))
    return [*found, _result("best of all", probes, best, len(attempts))]


def _result(
    setting: str, probes: Sequence[Probe], answers: Sequence[FactAnswer], num_formats: int
) -> AttackResult:
    num_left_out = len(set(probes)) - len({answer.probe for answer in answers})
    return AttackResult(
        attack=NAME,
        setting=setting,
        options={"num_formats": num_formats, "num_left_out": num_left_out},
        results=tuple(fact_results(answers)),
    )


def _is_writable(tokenizer: Tokenizer, probe: Probe) -> bool:
    """Say whether the tokenizer can write a probe and its answer; spaces may differ."""
    text = f"{probe.prompt} {probe.answer}"
    return "".join(tokenizer.decode(tokenizer.encode(text)).split()) == "".join(text.split())
