"""Relearning against the retrained model: steps to a level, area, and what a budget cut off."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from nulls_dist.attacks.relearning import RelearningCurve
from nulls_dist.errors import InputError
from nulls_dist.eval.metrics.relearning import MemoryCurve, relearning_area, steps_to_relearn

LEVELS: Final = (0.3, 0.5)
"""Shares of the gap between the retrained model and the model before deletion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """Steps of the attacked model over those of the retrained one; 1 is parity, less is a leak."""

    value: float
    bound: str
    """"=", or which side of the value the ratio lies on, "<" or ">", where one of the two did not
    get there within the budget."""

    def __str__(self) -> str:
        return f"{'' if self.bound == '=' else self.bound}{self.value:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelReached:
    """When both models answered so much."""

    share: float
    """Of the gap."""
    accuracy: float
    """The level itself, the same for both models."""
    steps: float | None
    """Linear between two rounds of questions; 0 if it was never below; None if it took more than
    the budget."""
    retrained_steps: float | None
    budget: int
    """Steps of the attack."""

    @property
    def ratio(self) -> Ratio | None:
        """Return steps over retrained steps.

        None where nothing can be said: neither got there, or the retrained model began there.
        """
        if self.retrained_steps == 0 or (self.steps is None and self.retrained_steps is None):
            return None
        if self.retrained_steps is None:
            assert self.steps is not None
            return Ratio(value=self.steps / self.budget, bound="<")
        if self.steps is None:
            return Ratio(value=self.budget / self.retrained_steps, bound=">")
        return Ratio(value=self.steps / self.retrained_steps, bound="=")


@dataclass(frozen=True, kw_only=True, slots=True)
class KindComparison:
    """What came back of one kind of fact."""

    before: float
    """Accuracy of the model before the deletion."""
    start: float
    """Accuracy of the attacked model at step 0."""
    retrained_start: float
    """The same of the retrained model: the lower end of the gap."""
    levels: tuple[LevelReached, ...]
    """Empty where the retrained model knows as much as the model before: there is no gap."""
    area: float | None
    """Mean share of the gap that is back, over all steps; None without a gap."""
    retrained_area: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RelearningComparison:
    """One attack on two models."""

    kinds: Mapping[str, KindComparison]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, ratios included."""
        return {kind: _kind_to_dict(found) for kind, found in self.kinds.items()}


def compare(
    curve: RelearningCurve,
    retrained: RelearningCurve,
    before: Mapping[str, float],
    *,
    shares: Sequence[float] = LEVELS,
) -> RelearningComparison:
    """Compare an attack with the same attack on the retrained model.

    Both have to reach the same accuracy, so a model that begins above the retrained one has less
    to relearn, and that counts against it.

    Args:
        curve: of the model without the sources.
        retrained: of the model trained without them, with the same options, but for what is wiped.
        before: accuracy by kind of fact before the deletion: `RelearningCurve.start` of an attack
            on the trained model.
        shares: levels, as shares of the gap.

    Raises:
        InputError: the attacks differ, or have no step.
    """
    if replace(curve.options, wipe=None) != replace(retrained.options, wipe=None):
        raise InputError(
            f"attacks differ: {curve.options} and {retrained.options}; only the same attack on "
            "both models says anything"
        )
    if not curve.options.steps:
        raise InputError("an attack of 0 steps has no curve; give it steps")
    return RelearningComparison(
        kinds={
            kind: _compare_kind(
                MemoryCurve(steps=curve.steps, values=values),
                MemoryCurve(steps=retrained.steps, values=retrained.accuracy[kind]),
                before[kind],
                shares,
            )
            for kind, values in curve.accuracy.items()
        }
    )


def _compare_kind(
    curve: MemoryCurve, retrained: MemoryCurve, before: float, shares: Sequence[float]
) -> KindComparison:
    floor = retrained.values[0]
    levels: tuple[LevelReached, ...] = ()
    areas: list[float | None] = [None, None]
    if before > floor:
        gap = {"floor": floor, "target": before}
        levels = tuple(
            LevelReached(
                share=share,
                accuracy=floor + share * (before - floor),
                steps=steps_to_relearn(curve, **gap, share=share),
                retrained_steps=steps_to_relearn(retrained, **gap, share=share),
                budget=curve.steps[-1],
            )
            for share in shares
        )
        areas = [relearning_area(each, **gap) for each in (curve, retrained)]
    return KindComparison(
        before=before,
        start=curve.values[0],
        retrained_start=floor,
        levels=levels,
        area=areas[0],
        retrained_area=areas[1],
    )


def _kind_to_dict(kind: KindComparison) -> dict[str, Any]:
    ratios = [level.ratio and asdict(level.ratio) for level in kind.levels]
    content = asdict(kind)
    content["levels"] = [
        {**level, "ratio": ratio} for level, ratio in zip(content["levels"], ratios, strict=True)
    ]
    return content


def format_comparison(comparison: RelearningComparison) -> str:
    """Return a table for a terminal, one kind of fact and level per line."""
    lines = [
        f"{'kind of fact':<28}{'before':>8}{'start':>8}{'retr.':>8}{'level':>8}"
        f"{'steps':>8}{'retr.':>8}{'ratio':>8}{'area':>8}{'retr.':>8}"
    ]
    for kind, found in comparison.kinds.items():
        head = f"{kind:<28}{found.before:>8.3f}{found.start:>8.3f}{found.retrained_start:>8.3f}"
        if not found.levels:
            lines.append(f"{head}  no gap: the retrained model knows as much")
        lines += [
            f"{head}{level.accuracy:>8.3f}{_steps(level.steps, level.budget):>8}"
            f"{_steps(level.retrained_steps, level.budget):>8}{level.ratio or '-'!s:>8}"
            f"{found.area:>8.3f}{found.retrained_area:>8.3f}"
            for level in found.levels
        ]
    return "\n".join(lines)


def _steps(steps: float | None, budget: int) -> str:
    return f">{budget}" if steps is None else f"{steps:.1f}"
