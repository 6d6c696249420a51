"""Ways to resolve a request, each run in a process of its own."""

from collections import Counter
from pathlib import Path
from typing import Any

from nulls_dist.data.source_table import SourceTable, strings_of
from nulls_dist.source_list import read_requests
from nulls_dist.unlearn.resolve import resolve_requests


def resolve(table: Path, request: Path) -> dict[str, Any]:
    """Resolve a request as the tools do."""
    resolutions = resolve_requests(SourceTable(table), read_requests(request))
    return {
        "outcomes": {
            outcome.value: number for outcome, number in resolutions.count_outcomes().items()
        }
    }


def look_up_in_dict(table: Path, request: Path) -> dict[str, Any]:
    """Look lines up as they are spelt, in what anyone would write first."""
    sources = SourceTable(table)
    ids: dict[str, int] = {}
    for column in ("aliases", "title"):
        for begin, values in sources.batches(column):
            names, parents = strings_of(values)
            ids |= zip(names.to_pylist(), sources.source_ids[begin + parents].tolist(), strict=True)
    with request.open(encoding="utf-8") as lines:
        found = Counter("matched" if line.rstrip("\n") in ids else "unknown" for line in lines)
    return {"outcomes": dict(found)}
