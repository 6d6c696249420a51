"""Which pages are left out unparsed: those that are too large, too deep or too broken.

The parser follows every bracket, brace and tag that is never closed to the end of the page before
it takes it as text, and then reads on from behind it: its time is the product of their number and
the page's length. One scan, linear in that length, finds them first.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

MAX_MARKUP_BYTES: Final = 2_000_000
MAX_DEPTH: Final = 40
"""Deepest nesting of templates, links and tables; the parser itself gives up beyond it."""
MAX_LIST_AND_TABLE_MARKS: Final = 300_000
"""Each may be one of the parser's costliest items, which take up to 800 bytes of memory."""
MAX_REREAD: Final = 5_000_000
"""Most characters between markup that is never closed and the end of the page, added up."""

_MARK: Final = re.compile(
    r"<!--|<(/?)([a-zA-Z][a-zA-Z0-9]*)(?=[\s/>])"
    r"[^<>{}\[\]\n]*+(?:\n(?!\{\|)[^<>{}\[\]\n]*+)*+(>?)|>"
    r"|\{\{|\}\}|\[\[|\]\]|\n[ :]*\{\||\n *\|\}(?!\}(?!\}))|\[(?=//|[a-zA-Z+]{2,12}:)|\]"
)
"""Every alternative begins with a certain character, which the search can look for: with "^" for
the beginning of a line, and with letters of either case, it takes three times as long."""
_CLOSED: Final = {"}}": "{{", "]]": "[[", "|}": "{|", "]": "[", ">": "<"}
_NESTING: Final = ("{{", "[[", "{|")
_NEVER_CLOSED: Final = ""
_SINGLE_TAGS: Final = frozenset(
    {"br", "hr", "wbr", "li", "dd", "dt", "td", "th", "tr", "img", "meta", "link"}
)
_OPAQUE: Final = {
    name: re.compile(f"</{name}>", re.I)
    for name in (
        *("categorytree", "ce", "chem", "gallery", "graph", "hiero", "imagemap", "inputbox"),
        *("math", "nowiki", "pre", "score", "section", "source", "syntaxhighlight"),
        *("templatedata", "timeline"),
    )
} | {"!--": re.compile("-->")}
"""Ends of what the parser does not look into, by the name of the tag."""


def find_excess(markup: str) -> str | None:
    """Return which limit a page breaks, or None; the time is linear in its length."""
    if len(markup.encode()) > MAX_MARKUP_BYTES:
        return f"more than {MAX_MARKUP_BYTES} bytes of markup"
    if sum(map(markup.count, "*#:;|!")) > MAX_LIST_AND_TABLE_MARKS:
        return f"more than {MAX_LIST_AND_TABLE_MARKS} marks of lists and tables"
    markup = f"\n{markup}"  # the first line begins like any other
    pending: list[tuple[str, int]] = []
    num_pending: Counter[str] = Counter()
    depth = num_reread = 0
    for opened, closes, place in _read_marks(markup):
        if not closes:
            pending.append((opened, place))
            num_pending[opened] += 1
            depth += opened in _NESTING
            if depth > MAX_DEPTH:
                return f"templates, links and tables nested deeper than {MAX_DEPTH}"
        elif num_pending[opened]:
            while (last := pending.pop())[0] != opened:
                num_pending[last[0]] -= 1
                depth -= last[0] in _NESTING
                num_reread += len(markup) - last[1]
            num_pending[opened] -= 1
            depth -= opened in _NESTING
    num_reread += sum(len(markup) - place for _, place in pending)
    if num_reread > MAX_REREAD:
        return f"markup never closed, {MAX_REREAD} characters or more after it in all"
    return None


def _read_marks(markup: str) -> Iterator[tuple[str, bool, int]]:
    """Yield what each mark opens or closes, whether it closes that, and its place."""
    end_of_opaque = 0
    missing: set[str] = set()  # ends that do not follow; not searched for again
    for mark in _MARK.finditer(markup):
        text, place = mark[0], mark.start()
        if place < end_of_opaque:
            continue
        if text[0] != "<":
            text = text.strip("\n :")
            yield _CLOSED.get(text, text), text in _CLOSED, place
            continue
        name = mark[2].lower() if mark[2] else "!--"
        if mark[1]:
            yield name, True, place
        elif name in missing:
            yield _NEVER_CLOSED, False, place
        elif name in _OPAQUE and text[-2:] != "/>":
            if end := _OPAQUE[name].search(markup, mark.end()):
                end_of_opaque = end.start()
            else:
                missing.add(name)
                yield _NEVER_CLOSED, False, place
        elif text[-2:] != "/>" and name not in _SINGLE_TAGS:
            yield name, False, place
        if mark[3] == "":  # its attributes hold other marks
            yield "<", False, place
