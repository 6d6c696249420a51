"""A deletion told to whoever answers for data protection: one HTML page that needs nothing else."""

from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from nulls_dist.checkpoint.format import Grade
from nulls_dist.unlearn.report import DeletionReport
from nulls_dist.unlearn.resolutions import Outcome

_TEMPLATE: Final = "report_page.html.jinja"
_MAX_LINES: Final = 30
_SMALL: Final = 0.1


def render_page(report: DeletionReport, *, report_sha256: str, public_key: str) -> str:
    """Return the page of a deletion that was done.

    Args:
        report: complete.
        report_sha256: of its canonical JSON, which is what the ledger records.
        public_key: that signed it, base64.
    """
    environment = Environment(
        loader=PackageLoader("nulls_dist", "unlearn"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    # Of a long list, what was not matched is shown first.
    by_interest = sorted(report.lines, key=lambda line: line["outcome"] == Outcome.MATCHED)
    shown = sorted(by_interest[:_MAX_LINES], key=lambda line: line["line"])
    return environment.get_template(_TEMPLATE).render(
        report=report,
        is_excised=report.grade is Grade.EXCISED,
        counts={name: number for name, number in report.num_lines.items() if number},
        lines=shown,
        evidence=report.evidence,
        bars=_bars(report.collateral),
        report_sha256=report_sha256,
        public_key=public_key,
    )


def _bars(collateral: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the histogram's bars: label, number of sources and length in percent."""
    counted = [("0", collateral["num_untouched"])]
    begin = 0.0
    for end, number in collateral["histogram"]:
        counted.append((f"{begin:.2%} to {end:.2%}", number))
        begin = end
    most = max(number for _, number in counted) or 1
    return [
        {"label": label, "number": number, "length": 100 * number / most}
        for label, number in counted
    ]


def _percent(share: float) -> str:
    return f"{share:.2%}" if 0 < share < _SMALL else f"{share:.1%}".replace(".0%", "%")
