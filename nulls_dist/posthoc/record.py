"""The record of a run: what it did, what it cost, and everything that a repetition takes."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from nulls_dist import __version__
from nulls_dist.durable import write_json
from nulls_dist.posthoc.causal_model import count_parameters, device_of
from nulls_dist.posthoc.checks import Sanity
from nulls_dist.posthoc.evaluation import Evaluation
from nulls_dist.posthoc.ledger import CostLedger
from nulls_dist.posthoc.method import Method
from nulls_dist.posthoc.plan import Ending, Plan
from nulls_dist.posthoc.replicas import ALONE, Replicas

FORMAT_VERSION: Final = 1

_PACKAGES: Final = ("numpy", "torch", "transformers")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run of one method."""

    method: Method
    plan: Plan
    request: dict[str, Any]
    """Counts and digest of the texts."""
    model: dict[str, Any]
    """Class, size, type, device and digests of the weights before and after."""
    ending: Ending
    evaluations: Sequence[Evaluation]
    """From the start to the end."""
    cost: CostLedger
    sanity: Sanity
    replicas: Replicas = ALONE

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "format_version": FORMAT_VERSION,
            "method": {
                "name": self.method.name,
                "needs": sorted(self.method.needs),
                "settings": self.method.settings,
            },
            "plan": asdict(self.plan),
            "request": self.request,
            "model": self.model,
            "ending": self.ending.value,
            "evaluations": [evaluation.to_dict() for evaluation in self.evaluations],
            "cost": self.cost.to_dict(),
            "sanity": self.sanity.to_dict(),
            "parallel": self.replicas.describe(),
            "software": _software(),
        }

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        write_json(path, self.to_dict())

    def summary(self) -> str:
        """Return lines for a terminal."""
        sanity, cost = self.sanity, self.cost
        forward, backward = sum(cost.forward_tokens.values()), sum(cost.backward_tokens.values())
        return "\n".join(
            [
                f"{self.method.name}: {self.ending}",
                f"  weights: {sanity.num_changed_tensors} of {sanity.num_tensors} tensors changed, "
                f"relative distance {sanity.relative_distance:.3g}",
                f"  answers: largest change of a logit {_number(sanity.largest_logit_change)}",
                f"  collapsed: {_collapse(sanity)}",
                f"  cost: {forward} tokens forward, {backward} backward, {cost.decoded_tokens} "
                f"decoded, {cost.seconds:.3g} s, peak {cost.peak_memory_bytes / 2**20:.0f} MiB, "
                f"{cost.extra_parameters} extra parameters",
                *(f"  {_format(evaluation)}" for evaluation in self.evaluations),
            ]
        )


def _collapse(sanity: Sanity) -> str:
    if sanity.collapsed is None:
        return "not known without retained text"
    return (
        f"{'YES' if sanity.collapsed else 'no'} (retained text: "
        f"{_number(sanity.retain_nll_before)} -> {_number(sanity.retain_nll_after)} nats "
        f"per token, uniform guesses {sanity.uniform_nll:.3g})"
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _format(evaluation: Evaluation) -> str:
    scores = " ".join(f"{name}={value:.4g}" for name, value in evaluation.scores.items())
    return f"{evaluation.unit} {evaluation.at:g}: {scores}"


def describe_model(model: nn.Module, *, sha256_before: str, sha256_after: str) -> dict[str, Any]:
    """Return what tells a model from others."""
    return {
        "class": type(model).__name__,
        "num_parameters": count_parameters(model),
        "dtypes": sorted({str(each.dtype).removeprefix("torch.") for each in model.parameters()}),
        "device": device_of(model).type,
        "weights_sha256_before": sha256_before,
        "weights_sha256_after": sha256_after,
    }


def _software() -> dict[str, Any]:
    versions = {"nulls-dist": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # transformers is an extra
            continue
    return {
        "versions": versions,
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
    }
