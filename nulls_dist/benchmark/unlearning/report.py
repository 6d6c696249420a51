"""`report`: the page of a benchmark whose results are written."""

from pathlib import Path
from typing import Final

from nulls_dist import durable
from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.render import render_report

REPORT_FILE: Final = "report.html"


def report(*, out: Path) -> None:
    """Write DIR/report.html from DIR/results.json, the tables and the logs of the trainings.

    Args:
        out: the benchmark's directory.

    Raises:
        InputError: it is no benchmark's, or has no results.
        ConfigError: what draws the figures is not installed.
    """
    durable.write_text(out / REPORT_FILE, render_report(Findings.read(out)))
    print(f"report: {out / REPORT_FILE}")
