"""The demo's report: one HTML file that needs nothing else."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nulls_dist.benchmark.fact_table import FactTable

_STYLE: Final = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1c1c1c; max-width: 54rem;
       margin: 2.5rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
svg { max-width: 100%; height: auto; } .note { color: #555; } code { font-size: .92em; }
"""


def html_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; all texts are escaped."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def fact_html(table: FactTable) -> str:
    """Return a fact table as HTML."""
    states = list(table.scores)
    rows = [
        [
            kind,
            *(f"{table.scores[state][kind].accuracy:.2f}" for state in states),
            str(table.scores[states[0]][kind].num_probes),
        ]
        for kind in table.kinds
    ]
    header = ["kind of fact", *(f"sinks {state}" for state in states), "questions"]
    return html_table(table.title, header, rows)


def render_report(
    *,
    summary: str,
    tables_before: Sequence[FactTable],
    tables_after: Sequence[FactTable],
    plots: Mapping[str, str],
    deletion: Mapping[str, Any],
    deletion_budget: float,
    export: str,
) -> str:
    """Return the whole page.

    Args:
        summary: one paragraph of plain text.
        tables_before: before deletion.
        tables_after: after deletion.
        plots: caption -> SVG.
        deletion: the report of strip_sources.
        deletion_budget: the collateral that was allowed.
        export: what was found when the released model was loaded, plain text.
    """
    cost = deletion["collateral"]
    rewritten = [[name] for name in deletion["rewritten"]]
    worst = [[entry["title"], f"{entry['share']:.1%}"] for entry in cost["worst"]]
    figures = "".join(f"<h2>{html.escape(caption)}</h2>{svg}" for caption, svg in plots.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nulls-dist demo</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>
<body>
<h1>Deleting sources from a trained language model</h1>
<p class="note">nulls-dist demo</p>
<p>{html.escape(summary)}</p>
{figures}
<h2>Before deletion</h2>
<p class="note">Right answers to cloze questions. <b>on</b>: the source's own sinks; <b>off</b>:
the backbone alone; <b>nearest</b>: the sinks of the most similar surviving source;
<b>placebo</b>: those of an unrelated one.</p>
{"".join(map(fact_html, tables_before))}
<h2>After deletion</h2>
<p class="note">Tombstones are ignored here: "on" routes the deleted sources to their own, excised
sinks, as someone who holds the weights could.</p>
{"".join(map(fact_html, tables_after))}
<h2>What was removed, and what it cost</h2>
<p>{html.escape(deletion["statement"])}</p>
<p>{deletion["num_deleted"]} sources were deleted. The average surviving source lost
{cost["mean"]:.1%} of its sinks (budget of this demo: {deletion_budget:.0%}; the default of
<code>strip_sources.py</code> is 5%; the pool of a demo is small), the worst
{cost["max"]:.1%}.</p>
{html_table("Files rewritten; all others are hard links", ["file"], rewritten)}
{html_table("Survivors that lost most", ["source", "share of its sinks"], worst)}
<h2>Release</h2>
<p>{html.escape(export)}</p>
</body></html>
"""
