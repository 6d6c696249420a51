"""A deletion told on the terminal: what it would do, then what was done."""

from collections import Counter
from typing import Any, Final

from nulls_dist.checkpoint.format import Grade
from nulls_dist.unlearn.report import DeletionReport
from nulls_dist.unlearn.resolutions import Outcome

_MAX_SHOWN: Final = 20
_NORMAL_95: Final = 1.96


def format_plan(report: DeletionReport) -> str:
    """Return what a deletion would do."""
    counts = ", ".join(f"{number} {outcome}" for outcome, number in report.num_lines.items())
    lines = [
        f"checkpoint  {report.checkpoint} (step {report.step})",
        f"{'manifests' if report.manifests else 'lines':<12}{counts}",
        f"named by    {_named_by(report)}",
        f"sources     {report.num_deleted} to delete now, {report.num_tombstones} in all",
        f"grade       {report.statement}",
    ]
    lines += [f"already     {title}" for title in report.already_deleted[:_MAX_SHOWN]]
    unknown = [line for line in report.lines if line["outcome"] == Outcome.UNKNOWN]
    lines += [
        f"unknown     line {line['line']}: {line['text']!r}: {line['detail']}"
        for line in unknown[:_MAX_SHOWN]
    ]
    if report.grade is Grade.EXCISED:
        lines += _collateral_lines(report)
    if report.corpus is not None:
        lines += _corpus_lines(report.corpus)
    return "\n".join(lines)


def format_result(report: DeletionReport) -> str:
    """Return what was done."""
    lines = [
        *(f"output      {other}" for other in (*report.other_outputs, report.output)),
        f"files       {len(report.rewritten)} rewritten, {report.num_linked} linked; "
        f"{report.num_values_verified} values read back and verified",
        f"manifest    sha256 {report.output_manifest_sha256}",
    ]
    if report.corpus is not None:
        corpus = report.corpus
        lines += [
            f"corpus      {corpus['output']}",
            f"files       {len(corpus['rewritten'])} rewritten, {corpus['num_linked']} linked",
        ]
    if report.evidence is not None:
        verdicts = report.evidence["verdicts"].items()
        told = ", ".join(f"{number} {verdict}" for verdict, number in verdicts)
        lines.append(f"evidence    {told}; {report.evidence['num_unasked']} not asked about")
    return "\n".join(lines)


def _named_by(report: DeletionReport) -> str:
    named = Counter(line["matched_by"] for line in report.lines if line["matched_by"])
    return ", ".join(f"{label} {number}" for label, number in named.items()) or "nothing"


def _collateral_lines(report: DeletionReport) -> list[str]:
    cost = report.collateral
    error = _NORMAL_95 * cost["standard_error"]
    measured = f" +- {error:.3%} (95 % interval)" if error else ""
    lines = [
        f"collateral  mean {cost['mean']:.3%}{measured}, p99 {cost['p99']:.3%}, max "
        f"{cost['max']:.3%} of the sinks of {_measured(report)}",
        f"pool        {cost['pool_zeroed']:.3%} zeroed now, {cost['pool_gone']:.3%} in all",
    ]
    if cost["num_twins"]:
        lines.append(
            f"twins       {cost['num_twins']} of {cost['num_measured']} measured survivors "
            "have exactly the sinks of a deleted one"
        )
    if cost["num_same_mask"]:
        lines.append(
            f"same mask   {cost['num_same_mask']} surviving sources have the very mask of a "
            "deleted one: excision takes all of their sinks too"
        )
    lines += [f"worst       {entry['share']:.3%} {entry['title']}" for entry in cost["worst"]]
    return lines


def _corpus_lines(corpus: dict[str, Any]) -> list[str]:
    lines = [
        f"corpus      {corpus['input']}: removes documents: {corpus['num_documents']} (deleted "
        f"sources: {corpus['num_sources']}), exact copies elsewhere: {corpus['num_copies']}"
    ]
    copies = corpus["copies"]
    for entry in copies[:_MAX_SHOWN]:
        left = f"{entry['num_left']} stay" if entry["num_left"] else "none stays"
        lines.append(
            f"copy        id:{entry['source_id']} {entry['title']}: documents: "
            f"{entry['num_documents']}, {left}"
        )
    if len(copies) > _MAX_SHOWN:
        lines.append(f"copy        {len(copies) - _MAX_SHOWN} more sources, see --json")
    if any(entry["in_model"] for entry in copies):
        lines.append(
            "copy        the model holds these texts in the sinks of these sources as well: add "
            "them to sources.txt to delete them from the model too"
        )
    return lines


def _measured(report: DeletionReport) -> str:
    """Say which survivors mean, p99, max, twins and worst are about."""
    measured, survivors = report.collateral["num_measured"], report.collateral["num_survivors"]
    if measured == survivors:
        return f"{survivors} surviving sources"
    return f"a survivor, measured on {measured} of {survivors} survivors"
