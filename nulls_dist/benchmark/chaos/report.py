"""The chaos run: nulls_tiny through kills, preemptions and switches, against a run left alone."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from nulls_dist.benchmark.chaos.comparison import compare_runs
from nulls_dist.benchmark.chaos.disturbed_run import Disturbance, DisturbedRun
from nulls_dist.benchmark.chaos.faults import plan_faults
from nulls_dist.benchmark.topologies import Combination, build_topology_corpus
from nulls_dist.checkpoint.lives import read_lives
from nulls_dist.errors import NullsError

_EP2: Final = Combination(name="EP2", processes=2)
_ONE: Final = Combination(name="1")
_TOPOLOGIES: Final = (
    _EP2,
    _ONE,
    Combination(name="DP2", processes=2, settings={"parallel.ep": 1}),
    Combination(name="TP2", processes=2, settings={"parallel.tp": 2}),
)
BAND: Final = 0.05
"""How far the mean loss of any `WINDOW` steps may be from the undisturbed run's, relative, when
lives change the topology and with it the order in which numbers are added up. Training magnifies
rounding: over 2,000 steps one process without a fault ends up to .024 away from two, and a run
through many topologies .023. The band is twice that; how far a run without a fault goes is measured
beside it every time."""
WINDOW: Final = 50


def bench_chaos(work: Path, *, steps: int, num_faults: int, seed: int) -> dict[str, Any]:
    """Disturb a run on one topology, and another one whose lives change it.

    Args:
        work: a new directory for a corpus and the runs.
        steps: of every run.
        num_faults: that happen to each disturbed run.
        seed: of the faults.

    Returns:
        "one_topology" and "many_topologies", each with what happened and how it compares;
        "other_topology", how a run without faults on one process does; "steps", "num_faults",
        "seed", "band", "window", "undisturbed_s".
    """
    corpus = build_topology_corpus(work)
    undisturbed = work / "undisturbed"
    alone = DisturbedRun(undisturbed, corpus, steps=steps, topologies=(_EP2,)).train(())
    result: dict[str, Any] = {
        "steps": steps,
        "num_faults": num_faults,
        "seed": seed,
        "band": BAND,
        "window": min(WINDOW, steps),
        "undisturbed_s": round(alone.seconds, 1),
    }
    other = work / "other_topology"
    DisturbedRun(other, corpus, steps=steps, topologies=(_ONE,)).train(())
    result["other_topology"] = asdict(
        compare_runs(other, undisturbed, corpus, window=result["window"])
    )
    for name, topologies, shift in (
        ("one_topology", (_EP2,), 0),
        ("many_topologies", _TOPOLOGIES, 1),
    ):
        run_dir = work / name
        run = DisturbedRun(run_dir, corpus, steps=steps, topologies=topologies)
        happened = run.train(plan_faults(num_faults, steps=steps, seed=seed + shift))
        comparison = compare_runs(run_dir, undisturbed, corpus, window=result["window"])
        result[name] = _describe(run_dir, happened) | asdict(comparison)
    one, many = result["one_topology"], result["many_topologies"]
    one["kept"] = _is_orderly(one) and not (
        one["num_differing_steps"] or one["num_differing_tensors"]
    )
    many["kept"] = _is_orderly(many) and many["largest_window_difference"] <= BAND
    return result


def _describe(run_dir: Path, happened: Disturbance) -> dict[str, Any]:
    lives = read_lives(run_dir)
    return {
        "faults": dict(sorted(Counter(stroke.kind for stroke in happened.strokes).items())),
        "lives": len(lives),
        "survivors": sum(len(codes) - 1 for codes in _codes_after_kills(happened)),
        "survivors_killed": sum(codes.count(None) for codes in _codes_after_kills(happened)),
        "leftovers": sorted(
            path.relative_to(run_dir).as_posix()
            for pattern in (".*.tmp", "checkpoints/.*", "STOP", "SAVE")
            for path in run_dir.glob(pattern)
        ),
        "broken_promises": happened.broken_promises,
        "seconds": round(happened.seconds, 1),
        "strokes": [asdict(stroke) for stroke in happened.strokes],
    }


def _codes_after_kills(happened: Disturbance) -> list[list[int | None]]:
    return [
        stroke.exit_codes
        for stroke in happened.strokes
        if stroke.exit_codes is not None and "kill" in stroke.kind
    ]


def _is_orderly(run: dict[str, Any]) -> bool:
    return run["same_ledger"] and not run["broken_promises"] and not run["leftovers"]


def check_chaos(result: dict[str, Any]) -> None:
    """Refuse a result in which a run did not end as promised.

    Raises:
        NullsError: one did not.
    """
    broken = [name for name in ("one_topology", "many_topologies") if not result[name]["kept"]]
    if broken:
        raise NullsError(f"not as promised: {', '.join(broken)}; its lines say what happened")


def format_chaos(result: dict[str, Any]) -> str:
    """Return what happened, for a terminal."""
    lines = [f"{result['steps']} steps of nulls_tiny; undisturbed {result['undisturbed_s']} s"]
    for name in ("one_topology", "many_topologies"):
        run = result[name]
        faults = ", ".join(f"{count} {kind}" for kind, count in run["faults"].items())
        lines += [
            f"{name.replace('_', ' ')}: {'kept' if run['kept'] else 'BROKEN'}",
            f"  {faults}; {run['lives']} lives, {run['seconds']} s",
            f"  steps that differ    {run['num_differing_steps']} of {run['num_steps']}",
            f"  loss                 at most {run['largest_loss_difference']:.1e} off in a step, "
            f"{run['largest_window_difference']:.1e} in {result['window']} steps",
            f"  tensors that differ  {run['num_differing_tensors']} of {run['num_tensors']}",
            f"  ledger               {'the same' if run['same_ledger'] else 'DIFFERS'}, "
            f"{run['num_segments']} pieces, {run['num_lost_segments']} more in lost steps",
        ]
        lines.append(
            f"  after a kill         {run['survivors_killed']} of {run['survivors']} other ranks "
            "had to be killed, too"
        )
        lines += [f"  {line}" for line in (*run["broken_promises"], *run["leftovers"])]
    other = result["other_topology"]
    lines.append(
        f"one process, no fault: loss at most {other['largest_loss_difference']:.1e} off in a "
        f"step, {other['largest_window_difference']:.1e} in {result['window']} steps"
    )
    return "\n".join(lines)
