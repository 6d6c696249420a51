"""What a page tells: results.json, the tables behind it, and what the trainings logged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.unlearning import (
    attack_results,
    curve_results,
    rival_results,
    sweep_results,
)
from nulls_dist.benchmark.unlearning.figures import Evidence
from nulls_dist.benchmark.unlearning.lab import RESULTS_FILE, open_lab
from nulls_dist.errors import InputError

LOSS: Final = "train/loss_nats"
TOKENS: Final = "train/tokens"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value to draw."""

    value: float | None
    """None where it was not computed."""
    low: float | None = None
    high: float | None = None
    """Ends of its interval; None where it has none."""
    seeds: tuple[float, ...] = ()
    """Values of single seeds, those that have one."""


def estimate_of(figure: Mapping[str, Any]) -> Estimate:
    """Return a figure as a value to draw.

    Args:
        figure: with value, interval and per_seed, as all files of the benchmark have them.
    """
    interval = figure["interval"] or {}
    seeds = (each["value"] for each in figure["per_seed"].values())
    return Estimate(
        value=figure["value"],
        low=interval.get("low"),
        high=interval.get("high"),
        seeds=tuple(value for value in seeds if value is not None),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that sections are built from."""

    results: Mapping[str, Any]
    """Content of results.json, see `results`."""
    evidence: Evidence
    trainings: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]
    """Arm -> per seed, the lines that its training logged; arms without a log are left out."""
    attacks: Mapping[str, Any] | None
    """Content of attacks.json, see `attack_results`; None where nothing was attacked."""
    curves: Mapping[str, Any] | None
    """Content of curves.json, see `curve_results`; None where no curve was taken."""
    sweeps: Mapping[str, Any] | None
    """Content of sweeps.json, see `sweep_results`; None where nothing was swept."""
    rivals: Mapping[str, Any] | None
    """Content of rivals.json, see `rival_results`; None where no rival was run."""

    @classmethod
    def read(cls, root: Path) -> "Findings":
        """Read a benchmark's directory.

        Raises:
            InputError: it is no benchmark's, or has no results, or a file is of another version.
        """
        lab = open_lab(root)
        if not (root / RESULTS_FILE).is_file():
            raise InputError(
                f"{root} has no {RESULTS_FILE}; finish it with "
                f"'python -m nulls_dist.benchmark run --size {lab.size.name} --out {root}'"
            )
        results = durable.read_json(root / RESULTS_FILE)
        logs = {
            arm.name: [lab.run_dir(seed, arm) / "metrics.jsonl" for seed in results["seeds"]]
            for arm in lab.size.arms
        }
        trainings = {
            name: [_read_lines(path) for path in paths if path.is_file()]
            for name, paths in logs.items()
        }
        return cls(
            results=results,
            evidence=Evidence.read(root),
            trainings={name: lines for name, lines in trainings.items() if lines},
            attacks=_read_if_there(
                root / attack_results.ATTACKS_FILE, attack_results.FORMAT_VERSION
            ),
            curves=_read_if_there(root / curve_results.CURVES_FILE, curve_results.FORMAT_VERSION),
            sweeps=_read_if_there(root / sweep_results.SWEEPS_FILE, sweep_results.FORMAT_VERSION),
            rivals=_read_if_there(root / rival_results.RIVALS_FILE, rival_results.FORMAT_VERSION),
        )

    def figure(self, name: str) -> Mapping[str, Any]:
        """Return an entry of the results' figures; of one that is missing, an empty one."""
        empty: dict[str, Any] = {"value": None, "interval": None, "n": 0}
        nothing = {**empty, "per_seed": {}, "details": {}}
        found: Mapping[str, Any] = self.results["figures"].get(name, nothing)
        return found

    def estimate(self, name: str) -> Estimate:
        """Return a figure as a value to draw."""
        return estimate_of(self.figure(name))

    def bound(self, name: str) -> float | None:
        """Return what a figure must reach, None if it has no target."""
        targets = [*self.results["targets"], *(self.attacks or {"targets": ()})["targets"]]
        texts = [each["target"] for each in targets if each["figure"] == name]
        return float(texts[0].rsplit(" ", 1)[-1]) if texts else None

    def basis(self, name: str, unit: str = "questions") -> str:
        """Say what a figure and its interval rest on, for a caption."""
        figure = self.figure(name)
        interval = figure["interval"]
        seeds = len(self.results["seeds"])
        counted = f"n = {figure['n']:,} {unit}, {seeds} seed{'s' if seeds > 1 else ''}"
        if interval is None:
            return f"{counted}; no interval."
        return (
            f"{counted}; interval: {interval['confidence']:.0%} {interval['method']} "
            f"({interval['num_sources']} sources)."
        )


def _read_if_there(path: Path, version: int) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    content: Mapping[str, Any] = durable.read_json(path)
    if content["format_version"] != version:
        raise InputError(
            f"{path} has format version {content['format_version']}, not {version}; run the "
            "command that wrote it again: it repeats no step that is done"
        )
    return content


def _read_lines(path: Path) -> list[dict[str, float]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    logged = (json.loads(line) for line in lines)
    return [
        {LOSS: line[LOSS], TOKENS: line[TOKENS]}
        for line in logged
        if LOSS in line and TOKENS in line
    ]
