"""One value of several seeds: the mean of theirs, with an interval.

Stored figures have no rows to draw from again, so the interval of the mean comes from those of the
seeds, which are independent: the squared distances from each value to the end of its interval add
up (MOVER: Zou and Donner 2008, "Construction of confidence limits about effect measures"). It
speaks of other sources of these worlds, not of other initial values: for those, compare the seeds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

METHOD: Final = "mean of seeds; limits by MOVER from the seeds' intervals"


def pool(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of a figure over seeds.

    Args:
        found: seed -> `MetricResult.to_dict()`, at least one.

    Returns:
        "value", "interval" and "n" as there (n is the sum), and "per_seed": seed -> its value,
        interval and n. Undefined in a seed: undefined. Without an interval in a seed: none.
    """
    parts = list(found.values())
    values = [part["value"] for part in parts]
    is_known = all(value is not None for value in values)
    return {
        "value": math.fsum(values) / len(values) if is_known else None,
        "interval": _pool_intervals(parts) if is_known else None,
        "n": sum(part["n"] for part in parts),
        "per_seed": {
            str(seed): {name: part[name] for name in ("value", "interval", "n")}
            for seed, part in found.items()
        },
    }


def _pool_intervals(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    intervals = [part["interval"] for part in parts]
    if any(interval is None for interval in intervals):
        return None
    if len(parts) == 1:
        return dict(intervals[0])
    mean = math.fsum(part["value"] for part in parts) / len(parts)
    below, above = (
        math.hypot(*(part["value"] - part["interval"][end] for part in parts)) / len(parts)
        for end in ("low", "high")
    )
    return {
        "low": mean - below,
        "high": mean + above,
        "confidence": intervals[0]["confidence"],
        "num_sources": sum(interval["num_sources"] for interval in intervals),
        "method": METHOD,
    }
