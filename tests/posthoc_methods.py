"""Every post-hoc method once, for `tests.tiny_llama`."""

from nulls_dist.posthoc.collapse import PartialModelCollapse
from nulls_dist.posthoc.eco import ECOPrompts
from nulls_dist.posthoc.gradient_methods import (
    NPO,
    UNDIAL,
    GradientAscent,
    GradientDifference,
    KLRegularised,
    RefusalPreference,
    SimNPO,
)
from nulls_dist.posthoc.prompt_classifier import HashedNgrams
from nulls_dist.posthoc.reinforced import LogitDifference, TaskVector
from nulls_dist.posthoc.representation import RMU
from nulls_dist.posthoc.selective import SelectiveGradientAscent, TaskArithmeticUnlearning
from tests.tiny_llama import LENGTH, PROMPT, REFUSALS

NUM_FEATURES, NUM_SAMPLES = 64, 4
METHODS = [
    GradientAscent(),
    GradientDifference(),
    KLRegularised(),
    NPO(),
    SimNPO(),
    RefusalPreference(refusals=REFUSALS),
    UNDIAL(),
    RMU(layer="model.layers.0"),
    TaskVector(strengths=(1.0,)),
    LogitDifference(strengths=(32.0,)),
    SelectiveGradientAscent(threshold=0.0),
    TaskArithmeticUnlearning(threshold=0.0, strengths=(1.0,)),
    ECOPrompts(classifier=HashedNgrams(num_features=NUM_FEATURES)),
    PartialModelCollapse(
        max_new_tokens=LENGTH - PROMPT, num_samples=NUM_SAMPLES, temperature=2.0, top_p=1.0
    ),
]
