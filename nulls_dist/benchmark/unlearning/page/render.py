"""The page of a benchmark: one HTML file that needs nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from nulls_dist.benchmark.drawing import paper_style
from nulls_dist.benchmark.unlearning.page.attacks import build_attacks
from nulls_dist.benchmark.unlearning.page.book import build_book
from nulls_dist.benchmark.unlearning.page.collateral import build_collateral
from nulls_dist.benchmark.unlearning.page.deletions import build_deletions
from nulls_dist.benchmark.unlearning.page.facts import build_facts
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.isolation import build_isolation
from nulls_dist.benchmark.unlearning.page.language import build_language
from nulls_dist.benchmark.unlearning.page.likelihood import build_likelihood
from nulls_dist.benchmark.unlearning.page.membership import build_membership
from nulls_dist.benchmark.unlearning.page.parts import Section, limits, number
from nulls_dist.benchmark.unlearning.page.power import build_power
from nulls_dist.benchmark.unlearning.page.provenance import build_all_figures, build_provenance
from nulls_dist.benchmark.unlearning.page.relearning import build_relearning, relearning_targets
from nulls_dist.benchmark.unlearning.page.rivals import build_rivals
from nulls_dist.benchmark.unlearning.page.sweeps import build_sweeps

_TEMPLATE: Final = "report.html.jinja"

SECTIONS: Final[tuple[Callable[[Findings], Section | None], ...]] = (
    build_power,
    build_facts,
    build_isolation,
    build_book,
    build_likelihood,
    build_membership,
    build_collateral,
    build_language,
    build_attacks,
    build_relearning,
    build_deletions,
    build_sweeps,
    build_rivals,
    build_provenance,
    build_all_figures,
)
"""In the order of the page."""


def render_report(findings: Findings) -> str:
    """Return the page, the same text for the same findings.

    Raises:
        ConfigError: matplotlib or scikit-learn is not installed.
    """
    with paper_style():
        sections = [section for build in SECTIONS if (section := build(findings)) is not None]
    environment = Environment(
        loader=PackageLoader("nulls_dist", "benchmark/unlearning/page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = findings.results
    targets = [_target(findings, entry) for entry in results["targets"]]
    targets += relearning_targets(findings)
    verdicts = [target["met"] for target in targets]
    return environment.get_template(_TEMPLATE).render(
        size=results["size"],
        seeds=[str(seed) for seed in results["seeds"]],
        targets=targets,
        num_met=verdicts.count(True),
        num_missed=verdicts.count(False),
        num_unknown=verdicts.count(None),
        sections=sections,
    )


def _target(findings: Findings, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the table of targets."""
    figure = findings.figure(entry["figure"])
    return {
        "figure": entry["figure"],
        "target": entry["target"],
        "value": number(entry["value"]),
        "interval": limits(figure["interval"]),
        "met": entry["met"],
        "n": f"{figure['n']:,}",
        "seeds": [
            {
                "met": entry["per_seed"].get(str(seed)),
                "value": number(figure["per_seed"].get(str(seed), {}).get("value")),
            }
            for seed in findings.results["seeds"]
        ],
    }
