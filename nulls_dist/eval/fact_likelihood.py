"""Facts by likelihood: how probable are the right answer and the wrong ones, in one state?"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nulls_dist.data.tokenizer import Tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.facts import Probe, answer_start
from nulls_dist.eval.metrics import likelihood, truth_ratio
from nulls_dist.eval.metrics.forget_quality import forget_quality
from nulls_dist.eval.metrics.intervals import clustered_mean
from nulls_dist.eval.metrics.result import Metric, MetricResult
from nulls_dist.eval.metrics.truth_ratio import Average
from nulls_dist.eval.token_scores import LanguageModel, Passage, score_passages


@dataclass(frozen=True, kw_only=True, slots=True)
class FactAnswer:
    """What a model thinks of the answers to one probe."""

    probe: Probe
    is_right: bool
    """Greedy decoding would write the right answer and its full stop."""
    right: float
    """Nats per token of the right answer and its full stop."""
    wrong: tuple[float, ...]
    """The same of each wrong answer."""


def weigh_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    probes: Sequence[Probe],
    donor_of: Mapping[int, int],
) -> list[FactAnswer]:
    """Ask every probe for the likelihood of all its answers.

    Args:
        model: the model.
        tokenizer: of its corpus.
        probes: the questions.
        donor_of: whose sinks serve each source: `states.donors` gives it for a state.

    Raises:
        RefusedError: a donor was deleted.
    """
    passages = [
        _sentence(tokenizer, probe, answer, donor_of[probe.source_id])
        for probe in probes
        for answer in (probe.answer, *probe.wrong_answers)
    ]
    scores = iter(score_passages(model, passages, unit="answers"))
    answers = []
    for probe in probes:
        right = next(scores)
        answers.append(
            FactAnswer(
                probe=probe,
                is_right=right.is_greedy,
                right=right.nll,
                wrong=tuple(next(scores).nll for _ in probe.wrong_answers),
            )
        )
    return answers


def _sentence(tokenizer: Tokenizer, probe: Probe, answer: str, donor: int) -> Passage:
    tokens, start = answer_start(tokenizer, probe.prompt, answer)
    return Passage(tokens=tokens, start=start, source_id=donor)


def group_of(probe: Probe) -> str:
    """Return kind and phrasing of a fact: values are never averaged over several kinds."""
    detail = {"shared": f" by {probe.multiplicity}", "inferable": f": {probe.attribute}"}
    phrasing = "held-out" if probe.held_out else "seen"
    return f"{probe.kind}{detail.get(probe.kind, '')}, {phrasing} phrasing"


def fact_results(answers: Sequence[FactAnswer]) -> list[MetricResult]:
    """Return accuracy, NLL, probabilities, preference and truth ratios per kind and phrasing.

    Intervals draw whole sources. The mean of ratios hangs on its largest: the median stands beside
    it. Kinds without wrong answers have no truth ratio.
    """
    groups: dict[str, list[FactAnswer]] = defaultdict(list)
    for answer in answers:
        groups[group_of(answer.probe)].append(answer)
    return [
        _mean_result(metric, group, found, value_of)
        for group, found in sorted(groups.items())
        for metric, value_of in _measures(found)
    ]


_Measure = tuple[Metric, Callable[[FactAnswer], float]]


def _measures(answers: Sequence[FactAnswer]) -> list[_Measure]:
    plain: list[_Measure] = [
        (likelihood.ANSWER_ACCURACY, lambda answer: float(answer.is_right)),
        (likelihood.ANSWER_NLL, lambda answer: answer.right),
        (likelihood.PROBABILITY, lambda answer: float(np.exp(-answer.right))),
    ]
    if not all(answer.wrong for answer in answers):
        return plain
    return [
        *plain,
        (likelihood.OPTION_PROBABILITY, _of_both(likelihood.option_probability)),
        (likelihood.PREFERENCE, _of_both(likelihood.preference)),
        *(
            (metric, _ratio(truth_ratio.nulls_ratio, how))
            for how, metric in truth_ratio.NULLS_RATIO.items()
        ),
        *(
            (metric, _ratio(truth_ratio.tofu_ratio, how))
            for how, metric in truth_ratio.TOFU_RATIO.items()
        ),
        (truth_ratio.TRUTH_PROBABILITY, _of_both(truth_ratio.truth_probability)),
        (truth_ratio.FORGET_SCORE, lambda answer: truth_ratio.forget_score([_tofu(answer)])),
        (truth_ratio.RETAIN_SCORE, lambda answer: truth_ratio.retain_score([_tofu(answer)])),
    ]


def _of_both(measure: Callable[[float, Sequence[float]], float]) -> Callable[[FactAnswer], float]:
    return lambda answer: measure(answer.right, answer.wrong)


def _ratio(
    measure: Callable[[float, Sequence[float], Average], float], how: Average
) -> Callable[[FactAnswer], float]:
    return lambda answer: measure(answer.right, answer.wrong, how)


def _tofu(answer: FactAnswer) -> float:
    return truth_ratio.tofu_ratio(answer.right, answer.wrong, Average.GEOMETRIC)


def _mean_result(
    metric: Metric,
    group: str,
    answers: Sequence[FactAnswer],
    value_of: Callable[[FactAnswer], float],
) -> MetricResult:
    values = np.array([value_of(answer) for answer in answers])
    sources = np.array([answer.probe.source_id for answer in answers], dtype=np.uint64)
    return MetricResult(
        metric=metric,
        group=group,
        value=float(values.mean()),
        n=len(values),
        interval=clustered_mean(values, sources),
        details={"median": float(np.median(values))} if np.isinf(metric.highest) else {},
    )


def forget_quality_results(
    unlearned: Sequence[FactAnswer], retrained: Sequence[FactAnswer]
) -> list[MetricResult]:
    """Compare two models' truth ratios per kind of fact and phrasing, one ratio per fact.

    Phrasings of one fact are not independent: their ratios are averaged geometrically first.

    Args:
        unlearned: answers of the unlearned model.
        retrained: answers of the retrained one to the same probes.

    Raises:
        InputError: the two were not asked the same.
    """
    if [answer.probe for answer in unlearned] != [answer.probe for answer in retrained]:
        raise InputError(
            "forget quality compares answers to the same probes, but the two models were asked "
            "different ones; ask both with one list"
        )
    first, second = _ratios_per_fact(unlearned), _ratios_per_fact(retrained)
    return [forget_quality(first[group], second[group]).to_result(group) for group in sorted(first)]


def _ratios_per_fact(answers: Sequence[FactAnswer]) -> dict[str, npt.NDArray[np.float64]]:
    """Return per group one TOFU ratio (geometric) for every fact of every source."""
    logs: dict[str, dict[tuple[int, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        if answer.wrong:
            fact = answer.probe.source_id, answer.probe.fact_id
            ratio = answer.right + truth_ratio.log_average(answer.wrong, Average.GEOMETRIC)
            logs[group_of(answer.probe)][fact].append(ratio)
    return {
        group: np.exp([np.mean(found) for found in facts.values()]) for group, facts in logs.items()
    }
