"""The last steps of cleaning, on text from which the markup is gone: quotes, gaps, lines, spaces.

Until here, characters that XML cannot contain stand for things the text must remember. All patterns
are linear: no two parts of one pattern can match the same run.
"""

import re
from collections.abc import Iterable
from typing import Final

LEFT_OUT: Final = "\x02"
"""Here something was left out: a gap to close."""
LINE_BREAK: Final = "\x07"
"""Here a line begins for readers; a newline of the markup alone is no more than a space to them."""
ITEM: Final = "\x0e"
"""Here an item of a list begins: before a bullet, an indented line or a definition."""
APART: Final = "\x0f"
"""Here a space belongs if a digit comes before: 1 and a quarter is not 11/4."""
_LITERAL_QUOTE: Final = "\x03"
_LITERAL_SPACE: Final = "\x04"
_LITERAL_TAB: Final = "\x05"
_LITERAL_LESS: Final = "\x06"

_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_QUOTES: Final = re.compile("('{2,})")
_OPENING: Final = re.compile(r"\(([ ;,:\x02]+)")
_CLOSING: Final = re.compile(r"(?<![ ;,:\x02])([ ;,:\x02]+)\)")
_EMPTY: Final = re.compile(r"\((\x02?)\)")
_BEFORE_POINT: Final = re.compile(r"(?:[,;:]|\.(?= ?\x02 ?\.))? ?\x02 ?(?=[.,;:!?)])")
_SPACES: Final = re.compile("[ \t\u00a0]+")
_BULLETS: Final = re.compile(r"^(?:[-*] )+")
_ITEMS: Final = re.compile("^(?:\x0e(- )?)+")
_DEFINITION: Final = re.compile(" ?\x0e ?")
_ALONE: Final = (LINE_BREAK, ITEM, " ")
_NO_CONTENT: Final = frozenset("-:;,. ")
_TABLE_ROW: Final = re.compile(r"\{\||\|(?!.*\]\])|!!|!.*(?:!!|\|)")
_VARIANTS: Final = re.compile(r"-\{(?:([A-Z-])\|)?([^{}\n]*)\}-")
_VARIANT: Final = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:([^;]*)")
_AFTER_DIGIT: Final = re.compile(f"(?<=[0-9]){APART}")
_BLANK_LINES: Final = re.compile(r"\n{3,}")
_STRAY_TAG: Final = re.compile(
    r"</?(?:(?P<block>blockquote|br|center|div|gallery|li|ol|p|table|td|th|tr|ul)|b|big|code|font|i"
    r"|nowiki|ref|references|s|small|span|sub|sup|tt|u)\b[^<>\n]{0,200}>",
    re.I,
)
_MARKS: Final = re.compile(r"\x02(?: ?\x02)*")


def drop_controls(markup: str) -> str:
    """Return markup without control characters, its lines ended by a newline each."""
    return _CONTROLS.sub("", markup.replace("\r\n", "\n").replace("\r", "\n"))


def protect(text: str, *, spaces: bool = False) -> str:
    """Return literal text in a form in which quotes, tags and perhaps space survive `finish`."""
    text = text.replace("'", _LITERAL_QUOTE).replace("<", _LITERAL_LESS)
    if spaces:
        text = text.replace(" ", _LITERAL_SPACE).replace("\t", _LITERAL_TAB)
        text = text.replace("\n", LINE_BREAK)
    return text


def finish(text: str) -> str:
    """Return the cleaned text of a section."""
    if "-{" in text:
        text = _VARIANTS.sub(_choose_variant, text)
    text = "\n".join(_join_lines(_STRAY_TAG.sub(_drop_tag, text).split("\n")))
    text = _BLANK_LINES.sub("\n\n", text).strip().replace(_LITERAL_QUOTE, "'")
    text = text.replace(_LITERAL_LESS, "<")
    return text.replace(_LITERAL_SPACE, " ").replace(_LITERAL_TAB, "\t")


def _drop_tag(found: re.Match[str]) -> str:
    return LINE_BREAK if found["block"] else ""


def _join_lines(source_lines: Iterable[str]) -> list[str]:
    """Return the lines that readers see: those of one paragraph of the markup become one.

    Lists, blocks and lines that begin with a space stand by themselves, as does what follows them.
    """
    lines: list[str] = []
    is_open = False  # whether the next line continues the last one
    for source_line in source_lines:
        stands_alone = source_line.startswith(_ALONE)
        found = map(_finish_line, source_line.lstrip(LINE_BREAK).split(LINE_BREAK))
        pieces = [piece for piece in found if piece is not None]
        continues = is_open and not stands_alone and bool(pieces and pieces[0])
        is_open = not stands_alone and bool(pieces and pieces[-1])
        if continues and not pieces[0].startswith("- "):
            lines[-1] += f" {pieces.pop(0)}"
        lines += pieces
    return lines


def _choose_variant(found: re.Match[str]) -> str:
    """Return the first of the variants between "-{" and "}-", which convert between scripts."""
    flag, content = found[1], found[2]
    if flag in ("H", "T", "-"):  # a rule for the rest of the page, or its title
        return LEFT_OUT
    if variant := _VARIANT.match(content.strip()):
        return variant[1].strip()
    return found[0] if content.isascii() and not flag else content


def _finish_line(line: str) -> str | None:
    """Return a cleaned line, or None for a line that only held what was left out."""
    line = _SPACES.sub(" ", strip_quotes(line)).strip(" ")
    if ITEM in line:
        line = _DEFINITION.sub(": ", _ITEMS.sub(lambda found: found[1] or "", line)).strip(" ")
    if APART in line:
        line = _AFTER_DIGIT.sub(" ", line).replace(APART, "")
    if LEFT_OUT in line:
        line = _close_gaps(line)
        if _NO_CONTENT.issuperset(line):
            return None
    if _TABLE_ROW.match(line):  # of a table that was never closed
        return None
    return _BULLETS.sub("- ", line)


def _close_gaps(line: str) -> str:
    """Remove the punctuation that stood around what was left out: "( ; , x )" and "(), "."""
    line = _MARKS.sub(LEFT_OUT, line)
    line = _OPENING.sub(lambda found: "(" + LEFT_OUT if LEFT_OUT in found[1] else found[0], line)
    line = _CLOSING.sub(lambda found: LEFT_OUT + ")" if LEFT_OUT in found[1] else found[0], line)
    line = _EMPTY.sub(lambda found: LEFT_OUT if found[1] else found[0], line)
    line = _BEFORE_POINT.sub("", _MARKS.sub(LEFT_OUT, line))
    return _SPACES.sub(" ", line.replace(LEFT_OUT, "")).strip(" ")


def strip_quotes(line: str) -> str:
    """Remove the quote marks of bold and italics from a line, keeping apostrophes next to them.

    Four quotes are an apostrophe and a mark of three, more than five are apostrophes and a mark of
    five. Where bold and italics are both unbalanced, one mark of three is an apostrophe and a mark
    of two: the first after a one-letter word, else after a longer word, else after a space.
    """
    parts = _QUOTES.split(line)
    if len(parts) == 1:
        return line
    marks = parts[1::2]
    apostrophes = [1 if len(mark) == 4 else max(0, len(mark) - 5) for mark in marks]
    sizes = [len(mark) - extra for mark, extra in zip(marks, apostrophes, strict=True)]
    num_bold = sum(size in (3, 5) for size in sizes)
    num_italic = sum(size in (2, 5) for size in sizes)
    if num_bold % 2 and num_italic % 2:
        candidates = [place for place, size in enumerate(sizes) if size == 3]
        ranks = {place: _rank(parts[2 * place]) for place in candidates}
        if ranks:
            apostrophes[min(ranks, key=lambda place: (ranks[place], place))] += 1
    for place, count in enumerate(apostrophes):
        parts[2 * place + 1] = "'" * count
    return "".join(parts)


def _rank(before: str) -> int:
    if before.endswith(" ") or not before:
        return 2
    return 0 if len(before) == 1 or before[-2] == " " else 1
