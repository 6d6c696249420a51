"""Formula and variant stand beside every number, in tables, in JSON and in the documentation."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from nulls_dist.eval.metrics.catalogue import CATALOGUE
from nulls_dist.eval.metrics.likelihood import ANSWER_ACCURACY, PERPLEXITY
from nulls_dist.eval.metrics.membership import PRIV_LEAK
from nulls_dist.eval.metrics.result import Interval, MetricResult, format_results

INTERVAL = Interval(low=0.25, high=0.75, confidence=0.95, num_sources=9, method="by hand")
ACCURACY = MetricResult(metric=ANSWER_ACCURACY, group="unique", value=0.5, n=12, interval=INTERVAL)
LEAK = MetricResult(
    metric=PRIV_LEAK, group="all", value=math.inf, n=3, details={"AUC_u": 0.5, "AUC_r": 1.0}
)


def test_a_table_says_what_every_number_is():
    first, second = format_results([ACCURACY, LEAK]).splitlines()
    for part in (ANSWER_ACCURACY.label, "unique", "0.5", "[0.25, 0.75] 95% of 9 sources", "n=12"):
        assert part in first
    assert first.endswith(f"{ANSWER_ACCURACY.formula} (higher = more remembered)")
    for part in ("inf", "no interval", "AUC_u=0.5 AUC_r=1", PRIV_LEAK.formula):
        assert part in second
    assert first.index("unique") == second.index("all")


def test_json_carries_formula_variant_and_no_number_that_json_lacks():
    content = json.loads(json.dumps(ACCURACY.to_dict(), allow_nan=False))
    assert content["formula"] == ANSWER_ACCURACY.formula
    assert content["variant"] == ANSWER_ACCURACY.variant
    assert content["interval"]["high"] == 0.75
    assert LEAK.to_dict()["value"] is None
    assert LEAK.to_dict()["details"] == {"AUC_u": 0.5, "AUC_r": 1.0}


def test_a_value_outside_its_range_is_a_mistake():
    with pytest.raises(AssertionError, match="outside its range"):
        replace(ACCURACY, value=1.5)
    with pytest.raises(AssertionError, match="outside its range"):
        replace(ACCURACY, metric=PERPLEXITY)
    replace(ACCURACY, value=math.nan)


def test_every_variant_has_a_name_of_its_own():
    labels = [metric.label for metric in CATALOGUE]
    assert len(set(labels)) == len(labels)
    assert all(metric.formula.isascii() for metric in CATALOGUE)
    assert all(metric.formula and metric.source for metric in CATALOGUE)


def test_the_documentation_lists_every_metric_as_it_is():
    page = Path(__file__).parents[4] / "docs" / "unlearning_metrics.md"
    table = page.read_text("utf-8").split("## All of them")[1]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    expected = [
        "| "
        + " | ".join(
            [
                metric.name,
                metric.variant or "-",
                "`" + metric.formula.replace("|", "\\|") + "`",
                f"{metric.lowest:g} to {metric.highest:g}",
                metric.direction,
                metric.source,
            ]
        )
        + " |"
        for metric in CATALOGUE
    ]
    assert rows[1:] == expected  # the first is the header
