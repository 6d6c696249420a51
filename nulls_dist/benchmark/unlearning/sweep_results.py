"""sweeps.json: what changed settings do.

    format_version    of this file
    size              name of the benchmark's size
    seeds             [0]: every model is trained on the first seed's world, with its initial values
    measured_on       command, hardware, versions
    models            one entry per model, that of the benchmark itself first:
        setting, value    what differs from the benchmark's model; null for itself
        configuration     of the training, resolved
        seconds           of the training
        figures           column -> {"figure", "value", "low", "high", "n"}; see `COLUMNS`.
                          Columns that need a retrained model are null where none was trained;
                          losses are nats per token, low and high null where there is no interval

Every directory in DIR/sweeps whose model was asked is listed, whichever command trained it. A
retrained model has the changed setting, too.
"""

from collections.abc import Mapping
from math import log
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.provenance import describe_measurement
from nulls_dist.benchmark.unlearning.figures import Evidence, measure
from nulls_dist.benchmark.unlearning.lab import Lab, open_lab
from nulls_dist.benchmark.unlearning.sizes import NULLS
from nulls_dist.eval.metrics.result import MetricResult

FORMAT_VERSION: Final = 1
SWEEPS_FILE: Final = "sweeps.json"
SWEEPS: Final = "sweeps"
"""Folder of the models."""
SEED: Final = 0

_DELETED: Final = "deleted sources"
_VALIDATION: Final = "perplexity: validation text of kept sources"
COLUMNS: Final = {
    "own": f"answer accuracy: {_DELETED}, unique facts, own sinks",
    "off": f"answer accuracy: {_DELETED}, unique facts, off",
    "nearest": f"answer accuracy: {_DELETED}, unique facts, nearest",
    "AUC off": f"preference: {_DELETED}, unique facts, off",
    "shared 3": f"answer accuracy: {_DELETED}, shared by 3, off",
    "shared 10+": f"answer accuracy: {_DELETED}, shared by 10 or more, off",
    "rules": f"answer accuracy: {_DELETED}, rule-based facts, off",
    "loss own": f"{_VALIDATION}, own sinks",
    "loss off": f"{_VALIDATION}, off",
    "isolation off": "isolation: off",
    "isolation nearest": "isolation: nearest",
    "rules - retrained": f"difference to retrained: {_DELETED}, rule-based facts, off",
}
"""Column -> figure of `figures.measure`; losses are the logarithms of perplexities."""

_DIGITS: Final = 6


def write_sweeps(lab: Lab) -> dict[str, Any]:
    """Compute the figures of all models that were asked and write DIR/sweeps.json.

    Returns:
        What was written.
    """
    models: list[tuple[Lab, str | None, str | None]] = [(lab, None, None)]
    for root in sorted((lab.root / SWEEPS).iterdir()):
        setting, _, value = root.name.partition("=")
        models.append((open_lab(root), setting, value))
    results = {
        "format_version": FORMAT_VERSION,
        "size": lab.size.name,
        "seeds": [SEED],
        "measured_on": describe_measurement(),
        "models": [
            _entry(each, setting, value)
            for each, setting, value in models
            if each.record(SEED, f"ask-{NULLS.name}-trained").is_file()
        ],
    }
    durable.write_json(lab.root / SWEEPS_FILE, results)
    return results


def _entry(lab: Lab, setting: str | None, value: str | None) -> dict[str, Any]:
    figures = measure(Evidence.read(lab.root).of_seed(SEED))
    return {
        "setting": setting,
        "value": value,
        "configuration": durable.read_json(lab.run_dir(SEED, NULLS) / "run.json")["config"],
        "seconds": durable.read_json(lab.record(SEED, f"train-{NULLS.name}"))["seconds"],
        "figures": {
            column: cell(name, figures[name]) if name in figures else None
            for column, name in COLUMNS.items()
        },
    }


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
    """Return the table for a terminal, a model per line."""
    names = [_name(entry) for entry in results["models"]]
    width = max(map(len, names))
    widths = {column: max(len(column), _DIGITS) + 2 for column in COLUMNS}
    lines = [" " * width + "".join(f"{column:>{widths[column]}}" for column in COLUMNS)]
    for name, entry in zip(names, results["models"], strict=True):
        cells = (f"{_number(entry['figures'][column]):>{widths[column]}}" for column in COLUMNS)
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return "\n".join(lines)


def _name(entry: Mapping[str, Any]) -> str:
    if entry["setting"] is None:
        return "as it is"
    return f"{entry['setting']}={entry['value']}"


def _number(figure: Mapping[str, Any] | None) -> str:
    value = None if figure is None else figure["value"]
    return "-" if value is None else f"{value:.3f}"
