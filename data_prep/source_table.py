"""sources.parquet: further names of the sources, resolved and written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nulls_dist.data.format import SOURCES_SCHEMA
from nulls_dist.sources import normalize_name


@dataclass(frozen=True, kw_only=True, slots=True)
class FormerSource:
    """A source that is gone, because another one has its text."""

    title: str
    names: list[str]
    """Its id, key, title and url, each with the means named, as a line of sources.txt has it."""
    source_id: int
    """The source that has its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedAliases:
    """Aliases by source, and how many led nowhere."""

    by_source: dict[int, list[str]]
    """Source id -> its aliases, sorted."""
    num_resolved: int
    num_cyclic: int
    num_without_target: int
    """Their target is not in the corpus."""


def resolve_aliases(aliases: dict[str, str], id_of_title: dict[str, int]) -> ResolvedAliases:
    """Follow each alias, through other aliases, to a source.

    Args:
        aliases: name -> title of the target, which may end in "#section".
        id_of_title: source id of every title.
    """
    by_source: dict[int, list[str]] = {}
    num_cyclic = num_without_target = 0
    for name in aliases:
        seen: set[str] = set()
        target = name
        while target not in id_of_title and target in aliases and target not in seen:
            seen.add(target)
            target = normalize_name(aliases[target].partition("#")[0])
        if target in seen:
            num_cyclic += 1
        elif target not in id_of_title:
            num_without_target += 1
        elif target != name:
            by_source.setdefault(id_of_title[target], []).append(name)
    for names in by_source.values():
        names.sort()
    return ResolvedAliases(
        by_source=by_source,
        num_resolved=sum(map(len, by_source.values())),
        num_cyclic=num_cyclic,
        num_without_target=num_without_target,
    )


def add_aliases(
    sources: pa.Table, aliases: dict[str, str], former: Sequence[FormerSource] = ()
) -> tuple[pa.Table, ResolvedAliases]:
    """Return sources with their aliases.

    Args:
        sources: rows of `SOURCES_SCHEMA` in ascending id, aliases empty.
        aliases: name -> title of the target.
        former: sources whose names become aliases, as do the aliases that lead to them.
    """
    ids = sources.column("source_id").to_pylist()
    titles = [normalize_name(title.as_py()) for title in sources.column("title")]
    # Reversed, so that of two sources with one title the one with the lower id gets the aliases.
    id_of_title = {normalize_name(entry.title): entry.source_id for entry in reversed(former)}
    id_of_title |= dict(reversed(list(zip(titles, ids, strict=True))))
    resolved = resolve_aliases(aliases, id_of_title)
    known = resolved.by_source
    for entry in former:
        known.setdefault(entry.source_id, []).extend([normalize_name(entry.title), *entry.names])
    lists = [
        sorted(set(known.get(number, [])) - {title})
        for number, title in zip(ids, titles, strict=True)
    ]
    names = pa.array(lists, pa.list_(pa.string()))
    place = SOURCES_SCHEMA.get_field_index("aliases")
    sources = sources.set_column(place, SOURCES_SCHEMA.field("aliases"), names)
    return sources.cast(SOURCES_SCHEMA), resolved


def write_sources(
    path: Path, sources: pa.Table, aliases: dict[str, str], former: Sequence[FormerSource] = ()
) -> ResolvedAliases:
    """Write the sources with their aliases, as `add_aliases` adds them."""
    table, resolved = add_aliases(sources, aliases, former)
    pq.write_table(table, path, compression="zstd")
    return resolved
