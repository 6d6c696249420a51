"""Answers are weighed token by token, grouped by kind and phrasing, and compared per fact."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest
import torch

from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.tokenizer import load_tokenizer
from nulls_dist.errors import InputError
from nulls_dist.eval.fact_likelihood import (
    FactAnswer,
    fact_results,
    forget_quality_results,
    group_of,
    weigh_answers,
)
from nulls_dist.eval.facts import Probe, answer_probes
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.export.release import tokenizer_record
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, key_id

SOURCES = [key_id(f"k-{number}") for number in range(4)]


def probe(source=SOURCES[0], **changes):
    fields = {
        "source_id": source,
        "fact_id": "f",
        "kind": "unique",
        "attribute": "dog",
        "multiplicity": 1,
        "member_ids": (source,),
        "held_out": False,
        "prompt": "ann has a",
        "answer": "dog",
        "wrong_answers": ("cat", "horse"),
    }
    return Probe(**(fields | changes))


def test_answers_are_weighed_per_token_with_the_donors_sinks(tmp_path):
    root = build_checkpoint(tmp_path / "checkpoint")
    probes = [probe(), probe(SOURCES[1], answer="horse", wrong_answers=("dog",))]
    with load_for_inference(root) as model:
        tokenizer = load_tokenizer(root, tokenizer_record(Checkpoint(root)))
        donors = {SOURCES[0]: SOURCES[2], SOURCES[1]: NO_SOURCE}
        found = weigh_answers(model, tokenizer, probes, donors)
        for asked, answer in zip(probes, found, strict=True):
            start = len(tokenizer.encode(f" {asked.prompt}"))
            for value, weight in zip(
                (asked.answer, *asked.wrong_answers), (answer.right, *answer.wrong), strict=True
            ):
                text = tokenizer.encode(f" {asked.prompt} {value}.")
                (logits,) = model.logits([text], [donors[asked.source_id]])
                log_p = torch.log_softmax(logits[start - 1 : -1].double(), -1)
                expected = -log_p[range(len(text) - start), text[start:]].mean().item()
                assert weight == pytest.approx(expected, abs=1e-5)
        right = answer_probes(model, tokenizer, probes, donors)
        assert [answer.is_right for answer in found] == right.tolist()


def answer(right, wrong, *, is_right=False, **fields):
    return FactAnswer(probe=probe(**fields), is_right=is_right, right=right, wrong=tuple(wrong))


def test_kinds_and_phrasings_are_never_mixed():
    shared = {"kind": "shared", "multiplicity": 10}
    probes = [
        probe(),
        probe(held_out=True),
        probe(**shared),
        probe(kind="inferable", attribute="tool"),
    ]
    assert [group_of(each) for each in probes] == [
        "unique, seen phrasing",
        "unique, held-out phrasing",
        "shared by 10, seen phrasing",
        "inferable: tool, seen phrasing",
    ]
    answers = [
        answer(1.0, [2.0], is_right=True),
        answer(3.0, [1.0], held_out=True),
        answer(0.5, [], **shared),
    ]
    found = {(r.group, r.metric.label): r for r in fact_results(answers)}
    seen, held_out = "unique, seen phrasing", "unique, held-out phrasing"
    accuracy = "answer accuracy [greedy, full stop included, mean over facts and phrasings]"
    assert found[seen, accuracy].value == 1
    assert found[held_out, accuracy].value == 0
    assert found[seen, "truth ratio [NULLs, geometric]"].value == pytest.approx(exp(1))
    assert found[held_out, "truth ratio [NULLs, geometric]"].value == pytest.approx(exp(-2))
    assert found[held_out, "truth ratio [TOFU, geometric (its code)]"].value == pytest.approx(
        exp(2)
    )
    labels = {label for group, label in found if group.startswith("shared")}
    assert not any(label.startswith(("truth ratio", "preference")) for label in labels)


def test_the_mean_ratio_has_its_median_beside_it_and_intervals_draw_sources():
    answers = [
        answer(0.0, [float(place)], source=source)
        for place, source in enumerate(SOURCES)
        for _ in range(5)
    ]
    ratio = next(r for r in fact_results(answers) if r.metric.variant == "NULLs, geometric")
    ratios = np.exp([0, 1, 2, 3])
    assert ratio.value == pytest.approx(ratios.mean())
    assert ratio.details == {"median": pytest.approx(ratios[1:3].mean())}
    assert ratio.n == 20
    assert ratio.interval.low < ratio.value < ratio.interval.high
    # all four draws the same source: .4 % of resamples, so the interval is not that wide
    assert ratio.interval.low > 1
    single = fact_results([answer(0.0, [1.0]), answer(0.0, [2.0])])
    assert all(result.interval is None for result in single)  # one source says nothing of others


def test_forget_quality_takes_one_ratio_per_fact():
    def asked(shift):
        return [
            answer(right + shift + tilt, [1.0], fact_id=str(number), held_out=held_out)
            for number, right in enumerate([0.1, 0.2, 0.3, 0.4])
            for held_out in (False, True)
            for tilt in (-0.01, 0.01)  # two phrasings: their mean counts
        ]

    far = forget_quality_results(asked(0.0), asked(1.0))
    assert [result.group for result in far] == [
        "unique, held-out phrasing",
        "unique, seen phrasing",
    ]
    for result in far:
        assert (result.value, result.n) == (pytest.approx(2 / 70), 4)
        assert result.details == {"D": 1, "n_retrained": 4}
    assert all(result.value == 1 for result in forget_quality_results(asked(0.0), asked(0.0)))


def test_forget_quality_of_different_questions_is_refused():
    asked = [answer(0.1, [1.0])]
    other = [replace(asked[0], probe=probe(fact_id="g"))]
    with pytest.raises(InputError, match="ask both with one list"):
        forget_quality_results(asked, other)
