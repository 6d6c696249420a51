"""Sources that a build leaves out: `--exclude SOURCES.txt`.

For the corpus of a model that is retrained without some sources, or continues after their deletion.
A line names a source by key, title, url or id. Redirects are not known while pages stream by, so
they cannot be used here.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from data_prep.documents import Document, Item, Skipped
from nulls_dist.errors import UnknownSourceError
from nulls_dist.source_list import Means, Request, read_requests
from nulls_dist.sources import normalize_name, source_id_of

REASON: Final = "excluded"
_MAX_SHOWN: Final = 20


def exclude_sources(items: Iterable[Item], requests: Path, corpus: str) -> Iterator[Item]:
    """Replace the documents of the listed sources by `Skipped`.

    Args:
        items: what a reader yields.
        requests: the list.
        corpus: name of the corpus, part of every source id.

    Raises:
        InputError: the list cannot be read.
        UnknownSourceError: after the last item, where a line named no document.
    """
    lines = read_requests(requests)
    by_name: dict[tuple[Means, str], list[Request]] = {}
    for line in lines:
        by_name.setdefault((line.means, normalize_name(line.name)), []).append(line)
    unused = {line.line for line in lines}
    for item in items:
        if not isinstance(item, Document):
            yield item
            continue
        found = [line for name in _names(item, corpus) for line in by_name.get(name, [])]
        unused -= {line.line for line in found}
        yield Skipped(reason=REASON) if found else item
    _check_used([line for line in lines if line.line in unused], requests)


def _names(document: Document, corpus: str) -> Iterator[tuple[Means, str]]:
    key, title = normalize_name(document.source_key), normalize_name(document.title)
    yield Means.KEY, key
    yield Means.TITLE, title
    yield Means.ANY, title
    if key != title:
        yield Means.ANY, key
    yield Means.URL, normalize_name(document.url)
    yield Means.ID, str(source_id_of(corpus, key))


def _check_used(unknown: Sequence[Request], requests: Path) -> None:
    if unknown:
        shown = "; ".join(f"line {line.line}: {line.text!r}" for line in unknown[:_MAX_SHOWN])
        raise UnknownSourceError(
            f"{requests}: {len(unknown)} line(s) name no document of the input: {shown}; use the "
            "title, key:, url: or id: (redirects are not known here). Nothing was written"
        )
