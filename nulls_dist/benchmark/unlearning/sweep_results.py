"""sweeps.json: what changed settings do.

    format_version    of this file
    size              name of the benchmark's size
    measured_on       command, hardware, versions
    models            one entry per model, that of the benchmark itself first:
        setting, value    what differs from the benchmark's model, null for itself; a value may
                          carry further settings, see `sweep`
        configuration     of the training with the first seed, resolved
        load              sources per sink, on average
        measured          one entry per seed, and one per larger set that is all the seeds of a
                          changed model, of every model that was trained on all of the set:
            seeds             which
            seconds           of the trainings, in order of the seeds
            figures           column -> {"figure", "value", "low", "high", "n"}; see `COLUMNS`.
                              Columns that need a retrained model are null where none was trained,
                              changes against the benchmark's own model for itself; losses are
                              nats per token, low and high null where there is no interval

Every model in DIR/sweeps that was asked is listed, whichever command trained it. It is trained on
a seed's world, with its initial values. A retrained model has the changed setting, too.
"""

import re
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.provenance import describe_measurement
from nulls_dist.benchmark.unlearning.backbone import compare_backbones, measure_backbone
from nulls_dist.benchmark.unlearning.figures import Evidence, measure
from nulls_dist.benchmark.unlearning.lab import EXCISED, TRAINED, Lab, open_lab
from nulls_dist.benchmark.unlearning.sizes import NULLS, RETRAINED, Size
from nulls_dist.eval.metrics.result import MetricResult

FORMAT_VERSION: Final = 2
SWEEPS_FILE: Final = "sweeps.json"
SWEEPS: Final = "sweeps"
"""Folder of the models."""
FURTHER: Final = re.compile(r"\+(?=[a-z])")
"""What parts the settings that a value carries; not the sign of an exponent."""

_DELETED: Final = "deleted sources"
_ALL: Final = "deleted and kept sources"
_VALIDATION: Final = "perplexity: validation text of kept sources"
COLUMNS: Final = {
    "own": f"answer accuracy: {_DELETED}, unique facts, own sinks",
    "off": f"answer accuracy: {_DELETED}, unique facts, off",
    "nearest": f"answer accuracy: {_DELETED}, unique facts, nearest",
    "AUC off": f"preference: {_DELETED}, unique facts, off",
    "AUC off, all": f"preference: {_ALL}, unique facts, off",
    "shared 3": f"answer accuracy: {_DELETED}, shared by 3, off",
    "shared 3, all": f"answer accuracy: {_ALL}, shared by 3, off",
    "shared 10+": f"answer accuracy: {_DELETED}, shared by 10 or more, off",
    "rules": f"answer accuracy: {_DELETED}, rule-based facts, off",
    "loss own": f"{_VALIDATION}, own sinks",
    "loss off": f"{_VALIDATION}, off",
    "kept": "answer accuracy: kept sources, unique facts, own sinks, before excision",
    "kept after": "answer accuracy: kept sources, unique facts, own sinks, after excision",
    "forecast": "collateral forecast",
    "isolation off": "isolation: off",
    "isolation nearest": "isolation: nearest",
    "rules - retrained": f"difference to retrained: {_DELETED}, rule-based facts, off",
    "AUC, change": f"change: {_ALL}, unique facts, off, preference",
    "shared 3, change": f"change: {_ALL}, shared by 3, off, correct",
}
"""Column -> figure of `figures` or `backbone`; losses are the logarithms of perplexities."""

_DIGITS: Final = 6


def write_sweeps(lab: Lab) -> dict[str, Any]:
    """Compute the figures of all models that were asked and write DIR/sweeps.json.

    Returns:
        What was written.
    """
    seeds_of: dict[Path, tuple[int, ...]] = {}
    for root in sorted((lab.root / SWEEPS).iterdir()):
        if seeds := _seeds_asked(open_lab(root)):
            seeds_of[root] = seeds
        else:
            lab.commands.say(f"left out, not done yet: {root.name}")
    single = {(seed,) for seeds in seeds_of.values() for seed in seeds}
    sets = sorted(single.union(seeds_of.values()), key=lambda each: (len(each), each))
    base = _Model(lab)
    models = [base.entry(sets)]
    for root, seeds in seeds_of.items():
        setting, _, value = root.name.partition("=")
        common = [each for each in sets if set(each) <= set(seeds)]
        models.append(_Model(open_lab(root), setting, value, base).entry(common))
    results = {
        "format_version": FORMAT_VERSION,
        "size": lab.size.name,
        "measured_on": describe_measurement(),
        "models": models,
    }
    durable.write_json(lab.root / SWEEPS_FILE, results)
    return results


def _seeds_asked(lab: Lab) -> tuple[int, ...]:
    """Return the seeds of a model that was asked before and after the deletion."""
    found = sorted(int(path.name.removeprefix("seed-")) for path in lab.root.glob("seed-*"))
    return tuple(seed for seed in found if _was_asked(lab, seed, NULLS.name, EXCISED))


def _was_asked(lab: Lab, seed: int, arm: str, checkpoint: str) -> bool:
    return lab.record(seed, f"ask-{arm}-{checkpoint}").is_file()


class _Model:
    """A model of the sweep, or the benchmark's own.

    Attributes:
        lab: its directory.
        setting, value: what was changed; None for the benchmark's own.
        base: the benchmark's own; None for itself.
        evidence: what was asked of it.
    """

    def __init__(
        self,
        lab: Lab,
        setting: str | None = None,
        value: str | None = None,
        base: "_Model | None" = None,
    ) -> None:
        self.lab = lab
        self.setting = setting
        self.value = value
        self.base = base
        self.evidence = Evidence.read(lab.root)

    def entry(self, sets: Sequence[tuple[int, ...]]) -> dict[str, Any]:
        """Return its entry, with what was measured on some sets of its seeds."""
        run = self.lab.run_dir(sets[0][0], NULLS)
        configuration = durable.read_json(run / "run.json")["config"]
        return {
            "setting": self.setting,
            "value": self.value,
            "configuration": configuration,
            "load": _load(self.lab.size, configuration["model"]),
            "measured": [self._measured(seeds) for seeds in sets],
        }

    def of_seeds(self, seeds: Sequence[int]) -> Evidence:
        """Return what was asked of it; of a retrained one if every seed has it."""
        arms = [
            arm.name
            for arm in (NULLS, RETRAINED)
            if all(_was_asked(self.lab, seed, arm.name, TRAINED) for seed in seeds)
        ]
        return self.evidence.of_seeds(seeds).of_arms(arms)

    def _measured(self, seeds: Sequence[int]) -> dict[str, Any]:
        evidence = self.of_seeds(seeds)
        figures = measure(evidence) | measure_backbone(evidence)
        if self.base is not None:
            figures |= compare_backbones(evidence, self.base.of_seeds(seeds))
        step = f"train-{NULLS.name}"
        records = (durable.read_json(self.lab.record(seed, step)) for seed in seeds)
        return {
            "seeds": list(seeds),
            "seconds": [record["seconds"] for record in records],
            "figures": {
                column: cell(name, figures[name]) if name in figures else None
                for column, name in COLUMNS.items()
            },
        }


def _load(size: Size, model: Mapping[str, Any]) -> float:
    """Return how many sources have a sink among theirs, on average."""
    slots = size.articles * int(model["num_active"])
    return slots / (int(model["num_experts"]) * int(model["num_sinks"]))


def on_seeds(model: Mapping[str, Any], seeds: Sequence[int]) -> Mapping[str, Any] | None:
    """Return what a model's entry says of a set of seeds, None if nothing."""
    for each in model["measured"]:
        if each["seeds"] == list(seeds):
            found: Mapping[str, Any] = each
            return found
    return None


def cell(name: str, result: MetricResult) -> dict[str, Any]:
    """Return a figure as a cell of the table; a perplexity as a loss."""
    between = result.interval
    values = {
        "value": result.to_dict()["value"],
        "low": None if between is None else between.low,
        "high": None if between is None else between.high,
    }
    if name.startswith("perplexity"):
        values = {part: None if each is None else log(each) for part, each in values.items()}
    return {"figure": name, **values, "n": result.n}


def format_sweeps(results: Mapping[str, Any]) -> str:
    """Return the table for a terminal: a model and its seeds per line."""
    rows = [
        (f"{_name(entry)}, {_seeds(each['seeds'])}", each["figures"])
        for entry in results["models"]
        for each in entry["measured"]
    ]
    width = max(len(name) for name, _ in rows)
    widths = {column: max(len(column), _DIGITS) + 2 for column in COLUMNS}
    lines = [" " * width + "".join(f"{column:>{widths[column]}}" for column in COLUMNS)]
    for name, figures in rows:
        cells = (f"{_number(figures[column]):>{widths[column]}}" for column in COLUMNS)
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return "\n".join(lines)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _name(entry: Mapping[str, Any]) -> str:
    if entry["setting"] is None:
        return "as it is"
    return f"{entry['setting']}={entry['value']}"


def _number(figure: Mapping[str, Any] | None) -> str:
    value = None if figure is None else figure["value"]
    return "-" if value is None else f"{value:.3f}"
