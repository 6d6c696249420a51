"""A long request against a large table of sources: time and memory, beside a dictionary."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from nulls_dist import hashing
from nulls_dist.benchmark.own_process import measure_alone
from nulls_dist.benchmark.random_sources import (
    URL_PREFIX,
    RandomNames,
    first_aliases,
    write_random_sources,
)
from nulls_dist.benchmark.resolve_ways import look_up_in_dict, resolve

TARGET_SECONDS: Final = 15.0
TARGET_MIB: Final = 1024.0
_WAYS_OF_20: Final = 11 * ("title",) + 5 * ("alias",) + ("key", "url", "respelt", "unknown")


def bench_resolve(work: Path, *, num_sources: int, num_lines: int) -> dict[str, Any]:
    """Resolve a request, each way in a process of its own that begins with the files.

    Args:
        work: directory for the table and the request, which are removed again.
        num_sources: rows of the table.
        num_lines: lines of the request: titles, aliases, keys, urls, titles in another spelling
            and names that no source has.

    Returns:
        "ways": seconds, CPU seconds, peak_mib and the lines by outcome; "table_bytes"; the
        targets.
    """
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as folder:
        table, request = Path(folder) / "sources.parquet", Path(folder) / "sources.txt"
        write_random_sources(table, num_sources)
        _write_request(request, num_sources, num_lines)
        return {
            "sources": num_sources,
            "lines": num_lines,
            "table_bytes": table.stat().st_size,
            "target_seconds": TARGET_SECONDS,
            "target_mib": TARGET_MIB,
            "ways": {
                "resolve_requests": measure_alone(resolve, table, request),
                "dict of titles and aliases": measure_alone(look_up_in_dict, table, request),
            },
        }


def _write_request(path: Path, num_sources: int, num_lines: int) -> None:
    numbers = np.arange(num_lines)
    rows = hashing.below(hashing.mix(numbers.astype(np.uint64)), num_sources)
    names = RandomNames()
    titles = names(rows).to_pylist()
    aliases = names(np.minimum(first_aliases(rows, num_sources), _last_alias(num_sources)))
    spelt = {
        "title": titles,
        "alias": aliases.to_pylist(),
        "key": [f"key:{row}" for row in rows.tolist()],
        "url": [URL_PREFIX + title.replace(" ", "_") for title in titles],
        "respelt": [title[0].lower() + title[1:].replace(" ", "_") for title in titles],
        "unknown": [f"{title} (unknown)" for title in titles],
    }
    ways = (_WAYS_OF_20[number % len(_WAYS_OF_20)] for number in numbers.tolist())
    lines = (f"{spelt[way][number]}\n" for number, way in enumerate(ways))
    path.write_text("".join(lines), encoding="utf-8")


def _last_alias(num_sources: int) -> int:
    return int(first_aliases(np.array([num_sources]), num_sources)[0]) - 1


def format_resolve(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    lines = [
        f"{result['lines']:,} lines, {result['sources']:,} sources; targets "
        f"{result['target_seconds']:.0f} s, {result['target_mib']:.0f} MiB",
        f"{'':<28}{'seconds':>9}{'CPU s':>8}{'peak MiB':>10}  outcomes",
    ]
    lines += [
        f"{name:<28}{row['seconds']:>9.1f}{row['cpu_seconds']:>8.1f}{row['peak_mib']:>10.0f}  "
        + ", ".join(f"{count:,} {outcome}" for outcome, count in row["outcomes"].items())
        for name, row in result["ways"].items()
    ]
    return "\n".join(lines)
