"""Power: how much was there to forget?"""

from nulls_dist.benchmark.unlearning.page.findings import Findings
from nulls_dist.benchmark.unlearning.page.parts import Section, Table, limits, number


def build_power(findings: Findings) -> Section | None:
    """Return the section, None of results that lack it."""
    power = findings.results.get("power")
    if power is None:
        return None
    if "num_facts" not in power:
        return Section(title="Power", lead=power["verdict"])
    rows = (
        ("unique facts of deleted sources", f"{power['num_facts']:,}"),
        (
            "of these known with own sinks, in a phrasing in which the retrained model is wrong",
            f"{power['num_known']:,}",
        ),
        ("deleted sources", f"{power['num_sources']:,}"),
        ("of these with a known fact", f"{power['num_sources_known']:,}"),
        ("right answers with own sinks", number(power["accuracy"])),
        ("right answers by guessing: of the retrained model", number(power["guessing"])),
        ("difference, with its 95% interval (sources drawn)", limits(power["added"])),
        ("sources that may leak though none was seen to", number(power["unnoticed"], 2)),
    )
    return Section(
        title="Power",
        lead=f"What was never known cannot be seen to be forgotten. {power['verdict']}",
        tables=(Table(caption="What there was to forget", header=("", "value"), rows=rows),),
    )
