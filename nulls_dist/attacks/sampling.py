"""Ask every question many times, at a temperature: does any answer state the fact?

Source: Scholten et al., "A probabilistic perspective on unlearning and alignment for large language
models" (arXiv 2410.03523): greedy answers alone understate what a model still knows.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch

from nulls_dist.attacks.questions import Finding, Tokens, mean_by_group, tokenize_probe
from nulls_dist.attacks.result import AttackResult
from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.errors import ConfigError
from nulls_dist.eval.facts import Probe
from nulls_dist.eval.generation import MAX_TEMPERATURE
from nulls_dist.eval.greedy import continue_texts, sampled
from nulls_dist.eval.metrics import elicitation
from nulls_dist.eval.token_scores import LanguageModel, Passage

NAME: Final = "sampling"
NUM_TRIES: Final = 20


def sample_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
    *,
    tries: int = NUM_TRIES,
    temperature: float = 1.0,
    seed: int = 0,
) -> AttackResult:
    """Ask every probe `tries` times.

    A sample states an answer if its tokens begin with those of the answer and its full stop, as
    the corpus writes them.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: the questions.
        donor_of: whose sinks serve each source.
        tries: samples of each probe, k.
        temperature: logits are divided by it.
        seed: of the draws.

    Raises:
        ConfigError: the temperature is not above 0, or above MAX_TEMPERATURE; no try is left.
        RefusedError: a donor was deleted.
    """
    if not 0 < temperature <= MAX_TEMPERATURE:
        raise ConfigError(
            f"temperature ({temperature}) must be above 0 and at most {MAX_TEMPERATURE:.0f}"
        )
    if tries < 1:
        raise ConfigError(f"tries ({tries}) must be at least 1")
    questions = [tokenize_probe(tokenizer, probe) for probe in probes]
    prompts = [
        Passage(tokens=question.prompt, source_id=donor_of[probe.source_id])
        for probe, question in zip(probes, questions, strict=True)
        for _ in range(tries)
    ]
    draws = torch.Generator().manual_seed(seed)
    longest = [max(map(len, (each.right, *each.wrong))) for each in questions for _ in range(tries)]
    written = continue_texts(model, prompts, longest, sampled(temperature, draws))
    samples = [written[begin : begin + tries] for begin in range(0, len(written), tries)]
    asked = list(enumerate(zip(questions, samples, strict=True)))
    right = {place: _share(said, question.right) for place, (question, said) in asked}
    wrong = {
        place: float(np.mean([_share(said, answer) > 0 for answer in question.wrong]))
        for place, (question, said) in asked
        if question.wrong
    }
    findings = [
        Finding(
            metric=elicitation.SAMPLED_RIGHT,
            values={place: float(share > 0) for place, share in right.items()},
        ),
        Finding(metric=elicitation.SAMPLED_WRONG, values=wrong),
        Finding(metric=elicitation.SAMPLE_SHARE, values=right),
    ]
    return AttackResult(
        attack=NAME,
        setting=f"{tries} samples at temperature {temperature:g}",
        options={"tries": tries, "temperature": temperature, "seed": seed},
        results=tuple(mean_by_group(probes, findings)),
    )


def _share(samples: Sequence[Sequence[int]], answer: Tokens) -> float:
    return float(np.mean([tuple(sample[: len(answer)]) == answer for sample in samples]))
