"""The prompt index at scale: recall of the right source, time per query, size, memory."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nulls_dist.benchmark.own_process import measure_alone
from nulls_dist.benchmark.prompts_steps import answer_queries, build
from nulls_dist.benchmark.random_sources import write_random_sources


def bench_prompts(work: Path, *, num_titles: int, num_queries: int) -> dict[str, Any]:
    """Build an index of made-up titles and aliases, and ask it, each in a process of its own.

    Args:
        work: directory for the table and the index, which are removed again.
        num_titles: sources of the table.
        num_queries: of each kind.

    Returns:
        "build" and "ask": seconds, CPU seconds, peak_mib; "kinds": per kind of query the share
        whose source came first and among the first five, and milliseconds of a query;
        "bytes" of the index by file.
    """
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        table, index = Path(folder) / "sources.parquet", Path(folder) / "index"
        write_random_sources(table, num_titles)
        building = measure_alone(build, table, index)
        asking = measure_alone(answer_queries, table, index, num_queries)
        return {
            "titles": num_titles,
            "queries_of_each_kind": num_queries,
            "bytes": {path.name: path.stat().st_size for path in sorted(index.iterdir())},
            "kinds": asking.pop("kinds"),
            "build": building,
            "ask": asking,
        }


def format_prompts(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    building, total = result["build"], sum(result["bytes"].values())
    lines = [
        f"{result['titles']:,} titles: built in {building['seconds']:.1f} s "
        f"({building['cpu_seconds']:.1f} CPU s, {building['peak_mib']:.0f} MiB), "
        f"{total / 1e6:.0f} MB; asked in {result['ask']['peak_mib']:.0f} MiB",
        f"{'':<22}{'first':>8}{'of 5':>8}{'median ms':>11}{'p95 ms':>9}",
    ]
    lines += [
        f"{kind:<22}{row['first']:>8.1%}{row['first_five']:>8.1%}{row['median_ms']:>11.1f}"
        f"{row['p95_ms']:>9.1f}"
        for kind, row in result["kinds"].items()
    ]
    return "\n".join(lines)
