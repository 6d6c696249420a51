"""The part of attacks.json on relearning: curves over all seeds against the retrained model.

    relearning    one entry per access, text and model but the retrained one:
        access, text, model
        steps               when probes were asked, from 0
        accuracy            kind of fact -> share of right answers at each step, all seeds' probes
        retrained_accuracy  the same of the retrained model under the same attack
        accuracy_per_seed, retrained_accuracy_per_seed   seed -> the same of that seed alone
        num_probes          kind -> probes of all seeds; num_documents, trained on
        kinds               kind -> `KindComparison`: before, start, retrained_start, area,
                            retrained_area, and levels: share of the gap, accuracy, steps,
                            retrained_steps (null where the budget of steps ended before), budget,
                            ratio {"value", "bound"}: 1 is parity, less a leak; null where neither
                            got there
        per_seed            seed -> kinds of that seed alone
        not_applicable      seed -> reason, where the world has no such text; that seed is left out

The suppressed model is not trained: with own sinks it answers at step 0. Kinds are unique facts, in
phrasings that documents use and in held-out ones. The ratio of all seeds is that of the mean curve,
not the mean of ratios, which censoring would bias. It has no interval: compare the seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nulls_dist import durable
from nulls_dist.attacks.relearning import Access, RelearningCurve
from nulls_dist.attacks.relearning_comparison import compare
from nulls_dist.attacks.texts import Text
from nulls_dist.benchmark.unlearning.lab import EXCISED, Lab
from nulls_dist.benchmark.unlearning.relearned import (
    BEFORE,
    CURVES,
    REFERENCE,
    mean_curve,
    read_curve,
)

TARGET_KIND: Final = "unique"
"""Kind of fact that targets are about."""
TARGET_SHARE: Final = 0.5
"""Share of the gap that they are about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelearningTarget:
    """What the ratio of steps to half of the gap must reach, on the deleted documents."""

    access: Access
    at_least: float

    @property
    def figure(self) -> str:
        """Name of the figure."""
        return f"relearning: {self.access}, excised, steps over those of the retrained model"

    def is_met(self, ratio: Mapping[str, Any] | None) -> bool | None:
        """Say whether a ratio reaches the target; None where it is a bound that leaves it open."""
        if ratio is None:
            return None
        reaches = bool(ratio["value"] >= self.at_least)
        open_if = {"=": None, ">": False, "<": True}[ratio["bound"]]
        return None if reaches is open_if else reaches


TARGETS: Final = (
    RelearningTarget(access=Access.OWN_SINKS, at_least=0.85),
    RelearningTarget(access=Access.BACKBONE, at_least=0.7),
)


def pool_relearning(lab: Lab, num_seeds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the entries of all curves that were taken on all seeds, and their wall times."""
    records = {
        curve: [lab.record(seed, curve.step) for seed in range(num_seeds)]
        for part in CURVES
        for curve in part
    }
    found = {
        (curve.access, curve.text, curve.model): [durable.read_json(path) for path in paths]
        for curve, paths in records.items()
        if all(path.is_file() for path in paths)
    }
    seconds = {
        ", ".join(("relearning", *map(str, key))): [record["seconds"] for record in of_seeds]
        for key, of_seeds in found.items()
    }
    return list(_entries(found)), seconds


Found = Mapping[tuple[Access, Text, str], Sequence[Mapping[str, Any]]]


def _entries(found: Found) -> Iterator[dict[str, Any]]:
    for (access, text, model), records in found.items():
        reference = found.get((access, text, REFERENCE))
        before = found.get((Access.OWN_SINKS, text, BEFORE))
        if model in (REFERENCE, BEFORE) or reference is None or before is None:
            continue
        triples = {
            seed: tuple(map(read_curve, each))
            for seed, each in enumerate(zip(records, reference, before, strict=True))
        }
        curves = {seed: each for seed, each in triples.items() if None not in each}
        yield {
            "access": str(access),
            "text": str(text),
            "model": model,
            **compare_curves(curves),
            "not_applicable": {
                str(seed): record["not_applicable"]
                for seed, record in enumerate(records)
                if record["not_applicable"]
            },
        }


def compare_curves(curves: Mapping[int, Any]) -> dict[str, Any]:
    """Return what all seeds together say, and each alone.

    Args:
        curves: seed -> curve of the model, of the retrained one, and of the model before.
    """
    if not curves:
        names = ["num_probes", "kinds", "per_seed"]
        for accuracy in ("accuracy", "retrained_accuracy"):
            names += [accuracy, f"{accuracy}_per_seed"]
        return {"steps": [], "num_documents": 0} | {name: {} for name in names}
    mean, retrained, before = (mean_curve(each) for each in zip(*curves.values(), strict=True))
    return {
        "steps": list(mean.steps),
        "accuracy": mean.accuracy,
        "retrained_accuracy": retrained.accuracy,
        "accuracy_per_seed": {str(seed): each[0].accuracy for seed, each in curves.items()},
        "retrained_accuracy_per_seed": {
            str(seed): each[1].accuracy for seed, each in curves.items()
        },
        "num_probes": mean.num_probes,
        "num_documents": mean.num_documents,
        "kinds": _kinds(mean, retrained, before),
        "per_seed": {str(seed): _kinds(*each) for seed, each in curves.items()},
    }


def _kinds(
    curve: RelearningCurve, retrained: RelearningCurve, before: RelearningCurve
) -> dict[str, Any]:
    return compare(curve, retrained, before.start).to_dict()


def judge(relearning: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the verdicts on all targets whose curve was taken."""
    verdicts = []
    for target in TARGETS:
        wanted = (str(target.access), str(Text.DELETED), EXCISED)
        for entry in relearning:
            if (entry["access"], entry["text"], entry["model"]) != wanted:
                continue
            verdicts.append(
                {
                    "figure": target.figure,
                    "target": f"at least {target.at_least}",
                    **_verdict(target, entry["kinds"]),
                    "per_seed": {
                        seed: _verdict(target, kinds) for seed, kinds in entry["per_seed"].items()
                    },
                }
            )
    return verdicts


def _verdict(target: RelearningTarget, kinds: Mapping[str, Any]) -> dict[str, Any]:
    level = level_at(kinds.get(TARGET_KIND), TARGET_SHARE)
    ratio = None if level is None else level["ratio"]
    value, bound = (None, None) if ratio is None else (ratio["value"], ratio["bound"])
    return {"value": value, "bound": bound, "met": target.is_met(ratio)}


def level_at(kind: Mapping[str, Any] | None, share: float) -> Mapping[str, Any] | None:
    """Return the entry of a level, None where the kind was not asked or has no gap."""
    levels = [] if kind is None else kind["levels"]
    return next((level for level in levels if level["share"] == share), None)


def format_relearning(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table for a terminal: curves, then targets."""
    if not results["relearning"]:
        return
    yield f"\n{'relearning':<12}{'text':<11}{'model':<17}{'before':>8}{'start':>8}{'end':>8}" + (
        f"{'retr.':>8}{'area':>8}{'retr.':>8}  ratio of steps at each level (1: parity; >, <: the "
        "budget ended)"
    )
    for entry in results["relearning"]:
        head = f"{entry['access']:<12}{entry['text']:<11}{entry['model']:<17}"
        kind = entry["kinds"].get(TARGET_KIND)
        if kind is None:
            reason = next(iter(entry["not_applicable"].values()), "no such fact")
            yield f"{head}  does not apply: {reason}"
            continue
        ends = [entry[name][TARGET_KIND][-1] for name in ("accuracy", "retrained_accuracy")]
        numbers = (kind["before"], kind["start"], *ends, kind["area"], kind["retrained_area"])
        ratios = [
            f"{level['share']:g}: {_text(level['ratio'], level['budget'])}"
            for level in kind["levels"]
        ]
        said = ", ".join(ratios) or "no gap: the retrained model knows as much"
        yield f"{head}{''.join(map(_cell, numbers))}  {said}"
    for entry in results["targets"]:
        verdict = {True: "met", False: "MISSED", None: "open"}[entry["met"]]
        value = "-" if entry["value"] is None else f"{entry['value']:.2f}"
        bound = entry["bound"] if entry["bound"] in ("<", ">") else ""
        yield f"{entry['figure']}  {bound}{value}  {entry['target']}: {verdict}"


def _cell(number: float | None) -> str:
    return f"{'-':>8}" if number is None or np.isnan(number) else f"{number:>8.3f}"


def _text(ratio: Mapping[str, Any] | None, budget: int) -> str:
    if ratio is None:
        return f"neither within {budget}"
    return f"{'' if ratio['bound'] == '=' else ratio['bound']}{ratio['value']:.2f}"
