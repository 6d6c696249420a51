"""What a model says when it is asked more than once, or helped with the beginning of an answer.

Who tries often enough says everything at some time, and a name that was begun is easily finished:
each measure stands beside its control, the same for wrong answers to the same question.
"""

from typing import Final

from nulls_dist.eval.metrics.result import Direction, Metric

SAMPLED_RIGHT: Final = Metric(
    name="sampled answers",
    variant="any of k samples, right answer",
    formula="mean_i 1[one of k samples begins with the right answer and its full stop]",
    direction=Direction.REMEMBERED,
    source="this project",
)
SAMPLED_WRONG: Final = Metric(
    name="sampled answers",
    variant="any of k samples, wrong answers (control)",
    formula="mean_i mean_j 1[one of k samples begins with wrong answer j and its full stop]",
    direction=Direction.NONE,
    source="this project",
)
SAMPLE_SHARE: Final = Metric(
    name="sampled answers",
    variant="share of samples, right answer",
    formula="mean_i share of k samples that begin with the right answer and its full stop",
    direction=Direction.REMEMBERED,
    source="this project",
)
COMPLETED_RIGHT: Final = Metric(
    name="prefilled answers",
    variant="rest of the right answer",
    formula="mean_i 1[greedy decoding writes the rest of the right answer after its first tokens]",
    direction=Direction.REMEMBERED,
    source="this project",
)
COMPLETED_WRONG: Final = Metric(
    name="prefilled answers",
    variant="rest of wrong answers (control)",
    formula="mean_i mean_j 1[greedy decoding writes the rest of wrong answer j after its first "
    "tokens]",
    direction=Direction.NONE,
    source="this project",
)
