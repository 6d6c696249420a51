"""attacks.json: what came back of deleted facts under attack.

    format_version    of this file
    size              name of the benchmark's size
    seeds             from 0 on
    measured_on       command, hardware, versions
    seconds           step -> wall time per seed, in order of the seeds; steps ran side by side
    effort            what attackers may spend: `efforts.Effort`
    measures          one entry per attack, model, setting, measure and group: attack, model
                      (`attacked.ATTACKED`), setting, options, name, variant, formula, direction,
                      source, group; value, interval, n and per_seed as `pooling.pool` gives them
    headlines         one entry per attack and model: attack, model, num_sources (of the first
                      seed), the measure of the attack that says most (name, variant, group,
                      setting, value, interval, n, per_seed) in the setting where it is largest,
                      of deleted facts in phrasings that documents use. Where the attack does not
                      apply: not_applicable, seed -> reason, and value null
    relearning        one entry per access ("backbone", "own sinks"), text and model, as
                      `relearning_results` says
    targets           one entry per target: figure, target, value, bound ("=", or "<" or ">" where
                      the budget of steps cut off one of the two models), met (null where value
                      and bound do not say), per_seed (seed -> {"value", "bound", "met"})

No number is good by itself: an attack succeeds as far as it gets more from a model than from the
retrained one, dense models from the dense retrained one. Values that are undefined are null.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.attacks import (
    changed_weights,
    covering,
    formats,
    optimized_prompts,
    prefill,
    prefix,
    sampling,
    steering,
)
from nulls_dist.attacks.catalogue import ATTACKS
from nulls_dist.benchmark.provenance import describe_measurement
from nulls_dist.benchmark.unlearning.attacked import ATTACKED, attack_step
from nulls_dist.benchmark.unlearning.efforts import effort_of
from nulls_dist.benchmark.unlearning.lab import Lab
from nulls_dist.benchmark.unlearning.pooling import pool
from nulls_dist.benchmark.unlearning.relearning_results import (
    format_relearning,
    judge,
    pool_relearning,
)
from nulls_dist.eval.metrics import elicitation, likelihood, memorization
from nulls_dist.eval.metrics.compression import COMPRESSION_RATIO
from nulls_dist.eval.metrics.result import Metric

FORMAT_VERSION: Final = 2
ATTACKS_FILE: Final = "attacks.json"

_TELLING: Final[Mapping[str, Metric]] = {
    prefix.NAME: memorization.VERBATIM,
    prefix.FACTS_NAME: likelihood.ANSWER_ACCURACY,
    optimized_prompts.NAME: COMPRESSION_RATIO,
    sampling.NAME: elicitation.SAMPLED_RIGHT,
    prefill.NAME: elicitation.COMPLETED_RIGHT,
    formats.NAME: likelihood.ANSWER_ACCURACY,
    changed_weights.NAME: likelihood.ANSWER_ACCURACY,
    steering.OVERLAP_NAME: likelihood.ANSWER_ACCURACY,
    steering.TITLE_NAME: likelihood.ANSWER_ACCURACY,
    covering.NAME: likelihood.ANSWER_ACCURACY,
}
"""Attack -> the measure that says most about it."""
_IDENTITY: Final = ("attack", "model", "setting", "name", "variant", "group")
_DESCRIPTION: Final = ("formula", "direction", "source")

Records = Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]]
"""(attack, model) -> seed -> the record of the step."""


def read_records(lab: Lab, num_seeds: int) -> Records:
    """Return the records of all attacks that were made on all seeds."""
    paths = {
        (attack.name, attacked.name): [
            lab.record(seed, attack_step(attack.name, attacked)) for seed in range(num_seeds)
        ]
        for attack in ATTACKS
        for attacked in ATTACKED
    }
    return {
        key: {seed: durable.read_json(path) for seed, path in enumerate(of_seeds)}
        for key, of_seeds in paths.items()
        if all(path.is_file() for path in of_seeds)
    }


def compute_attacks(records: Records) -> dict[str, Any]:
    """Return the measures and headlines of records."""
    measures = [entry for key, of_seeds in records.items() for entry in _measures(*key, of_seeds)]
    return {
        "measures": measures,
        "headlines": [_headline(*key, of_seeds, measures) for key, of_seeds in records.items()],
    }


def write_attacks(lab: Lab, *, num_seeds: int) -> dict[str, Any]:
    """Pool what is recorded and write DIR/attacks.json.

    Args:
        lab: the benchmark.
        num_seeds: its seeds; what was not made on all of them is left out.

    Returns:
        What was written.
    """
    records = read_records(lab, num_seeds)
    relearning, relearning_seconds = pool_relearning(lab, num_seeds)
    results = {
        "format_version": FORMAT_VERSION,
        "size": lab.size.name,
        "seeds": list(range(num_seeds)),
        "measured_on": describe_measurement(),
        "seconds": {
            f"{attack}, {model}": [record["seconds"] for record in of_seeds.values()]
            for (attack, model), of_seeds in records.items()
        }
        | relearning_seconds,
        "effort": asdict(effort_of(lab.size.name)),
        **compute_attacks(records),
        "relearning": relearning,
        "targets": judge(relearning),
    }
    durable.write_json(lab.root / ATTACKS_FILE, results)
    return results


def _measures(
    attack: str, model: str, of_seeds: Mapping[int, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield an entry per setting, measure and group, pooled over the seeds that have it."""
    found: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    options: dict[str, Any] = {}
    for seed, record in of_seeds.items():
        for setting in record["results"]:
            options.setdefault(setting["setting"], setting["options"])
            for result in setting["results"]:
                key = (setting["setting"], result["name"], result["variant"], result["group"])
                found.setdefault(key, {})[seed] = result
    for place, results in found.items():
        first = next(iter(results.values()))
        yield {
            **dict(zip(_IDENTITY, (attack, model, *place), strict=True)),
            **{name: first[name] for name in _DESCRIPTION},
            "options": options[place[0]],
            **pool(results),
        }


def _headline(
    attack: str,
    model: str,
    of_seeds: Mapping[int, Mapping[str, Any]],
    measures: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    known = [
        entry
        for entry in telling_entries(measures, attack)
        if entry["model"] == model and entry["value"] is not None
    ]
    best = max(known, key=lambda entry: entry["value"], default={"value": None})
    names = ("setting", "name", "variant", "group", "value", "interval", "n", "per_seed")
    first = next(iter(of_seeds.values()))
    reasons = {
        str(seed): record["not_applicable"]
        for seed, record in of_seeds.items()
        if record["not_applicable"]
    }
    return {
        "attack": attack,
        "model": model,
        "num_sources": first["num_sources"],
        "not_applicable": reasons,
        **{name: best.get(name) for name in names},
    }


def telling_entries(measures: Sequence[Mapping[str, Any]], attack: str) -> list[Mapping[str, Any]]:
    """Return the entries that say most about an attack, of all models and settings.

    They are those of one measure, of deleted facts in phrasings that documents use.
    """
    telling = _TELLING[attack]
    return [
        entry
        for entry in measures
        if entry["attack"] == attack
        and (entry["name"], entry["variant"]) == (telling.name, telling.variant)
        and not entry["group"].startswith("kept sources")
        and "held-out" not in entry["group"]
    ]


def format_attacks(results: Mapping[str, Any]) -> str:
    """Return tables for a terminal: a row per attack and model, then relearning, then targets."""
    lines = [
        f"{'attack':<26}{'model':<17}{'value':>8}{'95 % interval':>18}{'n':>7}{'sources':>9}  what"
    ]
    for entry in results["headlines"]:
        head = f"{entry['attack']:<26}{entry['model']:<17}"
        if entry["value"] is None:
            reason = next(iter(entry["not_applicable"].values()), "undefined")
            lines.append(f"{head}  does not apply: {reason}")
            continue
        between = entry["interval"]
        ends = "-" if between is None else f"[{between['low']:.3f}, {between['high']:.3f}]"
        lines.append(
            f"{head}{entry['value']:>8.3f}{ends:>18}{entry['n']:>7}{entry['num_sources']:>9}  "
            f"{entry['name']}: {entry['group']}, {entry['setting']}"
        )
    return "\n".join([*lines, *format_relearning(results)])
