"""Give the model the beginning of an answer: does it write the rest?"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from nulls_dist.attacks.questions import (
    Finding,
    Question,
    Tokens,
    mean_by_group,
    tokenize_probe,
)
from nulls_dist.attacks.result import AttackResult, NotApplicableError
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.metrics import elicitation
from nulls_dist.eval.token_scores import LanguageModel, Passage, score_passages

NAME: Final = "prefill"


def complete_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
    *,
    given: int = 1,
) -> AttackResult:
    """Prefill the first tokens of every answer, of wrong ones as a control.

    Answers of which no more than the full stop would be left to write are left out.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: the questions.
        donor_of: whose sinks serve each source.
        given: tokens of an answer that the model is given.

    Raises:
        NotApplicableError: no answer is long enough.
        RefusedError: a donor was deleted.
    """
    questions = [tokenize_probe(tokenizer, probe) for probe in probes]
    cases = [
        (place, answer, number == 0)
        for place, question in enumerate(questions)
        for number, answer in enumerate((question.right, *question.wrong))
        if len(answer) >= given + 2
    ]
    if not cases:
        raise NotApplicableError(
            f"prefill of {given} tokens needs answers of at least {given + 2}, full stop included, "
            "but there is none; leave this attack out"
        )
    passages = [
        _passage(questions[place], answer, given, donor_of[probes[place].source_id])
        for place, answer, _ in cases
    ]
    scores = score_passages(model, passages, unit="beginnings")
    right: dict[int, float] = {}
    wrong: dict[int, list[float]] = {}
    for (place, _, is_right), score in zip(cases, scores, strict=True):
        if is_right:
            right[place] = float(score.is_greedy)
        else:
            wrong.setdefault(place, []).append(float(score.is_greedy))
    control = {place: float(np.mean(found)) for place, found in wrong.items()}
    findings = [
        Finding(metric=elicitation.COMPLETED_RIGHT, values=right),
        Finding(metric=elicitation.COMPLETED_WRONG, values=control),
    ]
    return AttackResult(
        attack=NAME,
        setting=f"first tokens: {given}",
        options={"given": given},
        results=tuple(mean_by_group(probes, findings)),
    )


def _passage(question: Question, answer: Tokens, given: int, donor: int) -> Passage:
    return Passage(
        tokens=[*question.prompt, *answer],
        start=len(question.prompt) + given,
        source_id=donor,
    )
