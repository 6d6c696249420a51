"""What a cleaner leaves behind and what it loses, measured without a cleaner's own code.

The reference for numbers is a scan of its own over the raw markup. It reads running prose only:
lines outside tables, lists, headings, templates that stand alone, references, media and the
sections at an article's end. Of an inline template it takes every positional argument that readers
see, whether a cleaner knows the template or not.
"""

import html
import re
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

RESIDUE: Final = {
    "[[ or ]]": re.compile(r"\[\[|\]\]"),
    "{{ or }}": re.compile(r"\{\{|\}\}"),
    "{| or |}": re.compile(r"\{\||\|\}"),
    "row of a table": re.compile(r"^ *(?:\|-|\|\||! )", re.M),
    "HTML tag": re.compile(
        r"</?(?:b|big|blockquote|br|center|cite|code|div|em|font|gallery|i|li|math|nowiki|ol|p|poem"
        r"|ref|references|s|small|span|strike|strong|sub|sup|table|td|th|tr|tt|u|ul)\b[^<>\n]*>",
        re.I,
    ),
    "<!-- or -->": re.compile("<!--|-->"),
    "quote marks": re.compile("''+"),
    "= heading =": re.compile(r"^=+[^=\n]+=+ *$", re.M),
    "attribute": re.compile(r"\b(?:style|class|align|colspan|rowspan|width) ?= ?[\"\w]"),
    "thumb": re.compile(r"\|? ?\bthumb(?:nail)? ?\||^thumb\b|\|thumb", re.M),
    "file or category": re.compile(r"\b(?:File|Image|Category):"),
    "list mark": re.compile("^[*#:;]", re.M),
    "entity": re.compile(r"&(?:[a-z]{2,8}|#[0-9]{1,6}|#x[0-9a-f]{1,6});", re.I),
    "magic word": re.compile(r"__[A-Z]{3,30}__"),
    "url": re.compile(r"\bhttps?://"),
}
"""What readers of the page do not see, by name."""

EMPTY_PARENTHESES: Final = re.compile(r"(?:(?<=\s)|^)\([ ;,:]*\)|\( ?[,;]|[,;] \)", re.M)
"""Nothing in them, or punctuation first or last, where something was left out."""

_FORMULA: Final = re.compile(r"\$(?![\s$])[^$\n]*[\\{][^$\n]*(?<!\s)\$(?![0-9])")
"""LaTeX, in which doubled braces are no template; no dollars of money with something between."""
_CONTEXT: Final = 40
_NUMBER: Final = re.compile("[0-9]+(?:[,.][0-9]+)*")
_SHIFTED: Final = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089",
    "01234567890123456789",
)
_SHIFTED_RUN: Final = re.compile("([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)")

_MIN_WORDS: Final = 8
_COMMENT: Final = re.compile("<!--.*?-->", re.S)
_EMPTY_REFERENCE: Final = re.compile(r"<ref\b[^<>]*/>", re.I)
_HIDDEN_TAG: Final = re.compile(
    r"<(ref|math|gallery|timeline|syntaxhighlight|source|pre|score|imagemap|code|poem|table"
    r"|includeonly)\b[^<>]*>.*?</\1 *>",
    re.I | re.S,
)
_TAG: Final = re.compile("</?[a-z][^<>]*>", re.I)
_TABLE: Final = re.compile(r"^[ :]*\{\|(?:(?!^[ :]*\{\|).)*?^ *\|\}", re.M | re.S)
_TEMPLATE: Final = re.compile(r"\{\{([^{}]*)\}\}")
_ALONE: Final = re.compile(r"^[ :*]*\x02(?:\x02| |\x03[^\x04\n]*\x04)*$", re.M)
"""A line of nothing but templates: \x02 stands before each, its text between \x03 and \x04."""
_LEADING: Final = re.compile(r"^\x02[\x02-\x04 ]*", re.M)
_MARKS: Final = re.compile("[\x02-\x04]")
_LINK: Final = re.compile(r"\[\[((?:[^\[\]]|\[(?!\[)|\](?!\]))*)\]\]")
_EXTERNAL: Final = re.compile(r"\[(?:https?:)?//[^\s\[\]]*([^\[\]]*)\]|https?://[^\s\[\]]*")
_UNSEEN_LINK: Final = re.compile(r"(?:file|image|media|category|[a-z]{2,3}(?:-[a-z]+)?) *:", re.I)
_HEADING: Final = re.compile(r"^(=+)\s*(.*?)\s*\1\s*$", re.M)
_END_SECTIONS: Final = re.compile(
    r"(?:see also|(?:foot)?notes|references|bibliography|sources|citations|external links?"
    r"|further reading|works cited|notes and references|references and notes)$",
    re.I,
)
_NOT_PROSE: Final = tuple("*#:;|!{}= ")
_NOT_SHOWN: Final = re.compile(
    r"cit|harv|sfn|rp$|refn|efn|#tag|note|fact$|cn$|when|who|which|where|clarify|vague|dubious"
    r"|by whom|page needed|verif|fail|better|unreliable|update|anchor|flagicon|flag|coord|legend"
    r"|inflation|format price|age$|pop density|use |pp-|see|main|further|about|distinguish"
    r"|(?:\w+ )?image|isbn|lsj"
)
"""Templates that show readers nothing, a note's mark, a picture, or a number not in the markup."""
_QUANTITIES: Final = frozenset({"convert", "cvt", "conv"})
_QUANTITY: Final = re.compile(r"[0-9.,/+\u2212-]+|to|and|or|by|x|-|\u2013|to\(-\)|and\(-\)")
_SHIPS: Final = re.compile("(?:hms|hmas|hmcs|uss|usns|ss|ms|mv|rms|sms|ins|ship|sclass2?-?)$")
_VERSES: Final = re.compile("bible(?:verse|ref)")
_DATES: Final = re.compile(r"as of|(?:birth|death|start|end)[ -]date|date$|dts$")


def count_residue(text: str) -> Counter[str]:
    """Count what is left of markup in a cleaned text, by the names of `RESIDUE`."""
    return Counter(name for name, _ in find_residue(text))


def find_residue(text: str) -> list[tuple[str, str]]:
    """Return what is left of markup in a cleaned text: its name in `RESIDUE`, and some context."""
    text = _FORMULA.sub("$", text)
    return [
        (name, " ".join(text[max(0, found.start() - _CONTEXT) : found.end() + _CONTEXT].split()))
        for name, mark in RESIDUE.items()
        for found in mark.finditer(text)
    ]


def read_numbers(text: str) -> list[str]:
    """Return the numbers of a text in order, without the commas that group digits."""
    spaced = _SHIFTED_RUN.sub(r" \1 ", text).translate(_SHIFTED)
    return [number.replace(",", "") for number in _NUMBER.findall(spaced)]


def count_kept(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Return how many of the wanted items are found in the same order.

    The length of the longest common subsequence, with one bit per wanted item: H. Hyyro, "Bit-
    parallel LCS-length computation revisited" (2004).
    """
    places: Counter[str] = Counter()
    for place, item in enumerate(wanted):
        places[item] |= 1 << place
    everything = (1 << len(wanted)) - 1
    row = everything
    for item in found:
        matched = row & places[item]
        row = ((row + matched) | (row - matched)) & everything
    return len(wanted) - row.bit_count()


def read_prose_numbers(markup: str) -> list[str]:
    """Return the numbers that readers see in the running prose of a page, in order."""
    return [number for line in _read_prose(markup) for number in read_numbers(line)]


def _read_prose(markup: str) -> list[str]:
    text = _HIDDEN_TAG.sub("", _EMPTY_REFERENCE.sub("", _COMMENT.sub("", html.unescape(markup))))
    for pattern, shown in ((_LINK, _show_link), (_TEMPLATE, _show_template), (_TABLE, "")):
        num_changed = 1
        while num_changed:  # from the inside out
            text, num_changed = pattern.subn(shown, text)
    text = _EXTERNAL.sub(lambda found: found[1] or "", text)
    text = _LEADING.sub("", _TAG.sub("\x02", _ALONE.sub("", text)))
    text = _MARKS.sub(" ", text)
    lines: list[str] = []
    hidden_below = 0
    for line in text.split("\n"):
        if heading := _HEADING.match(line):
            level = len(heading[1])
            if not hidden_below or level <= hidden_below:
                hidden_below = level if _END_SECTIONS.match(heading[2]) else 0
        elif not hidden_below and not line.startswith(_NOT_PROSE):
            lines.append(line)
    return [line for line in lines if len(line.split()) >= _MIN_WORDS]


def _show_template(template: re.Match[str]) -> str:
    name, *arguments = (part.strip() for part in template[1].split("|"))
    name = name.replace("_", " ").casefold()
    if _NOT_SHOWN.match(name) or "\n" in template[1].strip():
        return "\x02"
    shown = [part for part in arguments if not re.match(r"[\w -]*=", part)]
    if name in _QUANTITIES:
        shown = list(takewhile(_QUANTITY.fullmatch, shown))
    elif _DATES.match(name):
        shown = shown[2:3] + shown[:1]
    elif _SHIPS.match(name):  # the last argument chooses a format
        shown = shown[:2]
    elif _VERSES.match(name):  # what follows the verse names a translation
        shown = [part for part in shown if not part.isdecimal() or part is shown[0]]
    return f"\x02\x03{_MARKS.sub(' ', ' '.join(shown))}\x04"


def _show_link(link: re.Match[str]) -> str:
    title, bar, label = link[1].partition("|")
    if _UNSEEN_LINK.match(title.strip()):
        return ""
    return label if bar else title
