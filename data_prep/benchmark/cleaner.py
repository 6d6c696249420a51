"""The cleaner of wiki markup beside others on the same pages: what is left, what is lost, speed."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

import mwparserfromhell
from tqdm import tqdm

from data_prep.benchmark.cleaner_quality import (
    EMPTY_PARENTHESES,
    count_kept,
    count_residue,
    find_residue,
    read_numbers,
    read_prose_numbers,
)
from data_prep.documents import Document
from data_prep.mediawiki import Dump
from data_prep.wikitext import LinkPrefixes, clean_wikitext
from data_prep.wikitext_hf import clean_like_hugging_face
from data_prep.wikitext_limits import find_excess

OURS: Final = "nulls"
TARGET_PAGES_PER_S: Final = 45
TARGET_NUMBERS_KEPT: Final = 0.95

Clean = Callable[[str], str]


def bench_cleaner(dump: Path, *, num_pages: int | None, rounds: int) -> dict[str, Any]:
    """Clean the articles of a dump with every cleaner in turn.

    Args:
        dump: MediaWiki XML.
        num_pages: how many articles, from the first; None takes all.
        rounds: how often; of every page the quickest time of a cleaner counts.

    Returns:
        "cleaners": by name, speed and quality (None: not installed); "left": what is left of markup
        by our cleaner, with title and context; "pages", "markup_bytes", "prose_numbers"; "versions"
        of the other packages.

    Raises:
        InputError: the dump is damaged, or holds no article.
    """
    opened = Dump(dump)
    pages = list(islice(_read_articles(opened), num_pages))
    cleaners = _contestants(LinkPrefixes.of_namespaces(opened.site.namespaces))
    texts, seconds = _clean_in_turn(
        {name: clean for name, clean in cleaners.items() if clean}, pages, rounds
    )
    markup_bytes = sum(len(page.text.encode()) for page in pages)
    numbers = [read_prose_numbers(page.text) for page in pages]
    return {
        "dump": dump.name,
        "pages": len(pages),
        "markup_bytes": markup_bytes,
        "prose_numbers": sum(map(len, numbers)),
        "rounds": rounds,
        "targets": {"pages_per_s": TARGET_PAGES_PER_S, "numbers_kept": TARGET_NUMBERS_KEPT},
        "cleaners": {
            name: clean
            and {
                "pages_per_s": len(pages) / seconds[name],
                "megabytes_per_s": markup_bytes / 1e6 / seconds[name],
                **_judge(texts[name], numbers),
            }
            for name, clean in cleaners.items()
        },
        "left": [
            {"page": page.title, "residue": name, "context": context}
            for page, text in zip(pages, texts[OURS], strict=True)
            for name, context in find_residue(text)
        ],
        "versions": {
            "mwparserfromhell": version("mwparserfromhell"),
            "gensim": version("gensim") if cleaners["gensim"] else None,
        },
    }


def _read_articles(dump: Dump) -> Iterator[Document]:
    """Yield the articles within the limits of the cleaner."""
    for item in dump.items():
        if isinstance(item, Document) and find_excess(item.text) is None:
            yield item


def _contestants(prefixes: LinkPrefixes) -> dict[str, Clean | None]:
    """Return the cleaners; None for one that is not installed."""
    return {
        OURS: lambda markup: clean_wikitext(markup, prefixes),
        "hf": lambda markup: clean_like_hugging_face(markup, prefixes),
        "strip_code": lambda markup: str(mwparserfromhell.parse(markup).strip_code()),
        "gensim": _find_gensim(),
    }


def _find_gensim() -> Clean | None:
    try:
        from gensim.corpora.wikicorpus import filter_wiki
    except ImportError:
        return None
    return lambda markup: str(filter_wiki(markup))


def _clean_in_turn(
    cleaners: dict[str, Clean], pages: Sequence[Document], rounds: int
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Return the texts, and the CPU seconds of all pages, by cleaner."""
    best = {name: [float("inf")] * len(pages) for name in cleaners}
    texts = {name: [""] * len(pages) for name in cleaners}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for place, page in enumerate(tqdm(pages, desc="pages", leave=False, disable=None)):
            for name, clean in cleaners.items():
                started = time.process_time()
                texts[name][place] = clean(page.text)
                best[name][place] = min(best[name][place], time.process_time() - started)
    return texts, {name: sum(times) for name, times in best.items()}


def _judge(texts: Sequence[str], numbers: Sequence[Sequence[str]]) -> dict[str, Any]:
    residue: Counter[str] = Counter()
    for text in texts:
        residue += count_residue(text)
    kept = sum(
        count_kept(wanted, read_numbers(text)) for wanted, text in zip(numbers, texts, strict=True)
    )
    return {
        "characters": sum(map(len, texts)),
        "residue": dict(residue.most_common()),
        "empty_parentheses": sum(len(EMPTY_PARENTHESES.findall(text)) for text in texts),
        "numbers_kept": kept / max(1, sum(map(len, numbers))),
    }


def format_cleaner(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    targets, cleaners = result["targets"], result["cleaners"]
    lines = [
        f"{result['pages']} articles of {result['dump']}, {result['markup_bytes'] / 1e6:.1f} MB, "
        f"{result['prose_numbers']} numbers in prose; targets: {targets['pages_per_s']} pages/s, "
        f"{targets['numbers_kept']:.0%} of the numbers, no residue",
        f"{'':<12}{'pages/CPU s':>12}{'MB/CPU s':>10}{'Mchar out':>11}{'numbers':>9}"
        f"{'empty ()':>10}{'residue':>9}",
    ]
    for name, row in cleaners.items():
        if row is None:
            lines.append(f"{name:<12} not installed")
            continue
        lines.append(
            f"{name:<12}{row['pages_per_s']:>12.1f}{row['megabytes_per_s']:>10.1f}"
            f"{row['characters'] / 1e6:>11.2f}{row['numbers_kept']:>9.2%}"
            f"{row['empty_parentheses']:>10}{sum(row['residue'].values()):>9}"
        )
    for name, row in cleaners.items():
        if row and row["residue"]:
            found = ", ".join(f"{count} {mark}" for mark, count in row["residue"].items())
            lines.append(f"left by {name}: {found}")
    lines += [f"  {left['page']}, {left['residue']}: {left['context']}" for left in result["left"]]
    return "\n".join(lines)
