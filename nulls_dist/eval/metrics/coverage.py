"""How much of a deleted source's sinks other sources have: of one source, and of several together.

A slot is a sink in a layer.
"""

from typing import Final

from nulls_dist.eval.metrics.result import Direction, Metric

LARGEST_OVERLAP: Final = Metric(
    name="shared sinks",
    variant="with the survivor that shares most",
    formula="mean_i max_s |slots of i and of s| / |slots of i|",
    direction=Direction.NONE,
    source="this project",
)
COVERED_SHARE: Final = Metric(
    name="covered sinks",
    variant="greedy set cover",
    formula="mean_i |slots of i that the chosen survivors have| / |slots of i|",
    direction=Direction.NONE,
    source="this project; greedy set cover of Chvatal 1979",
)
COVER_SIZE: Final = Metric(
    name="covering survivors",
    variant="greedy set cover",
    formula="mean_i number of chosen survivors",
    direction=Direction.NONE,
    highest=float("inf"),
    source="this project; greedy set cover of Chvatal 1979",
)
