"""From the tokens of wiki markup to text, without a tree of nodes in between.

mwparserfromhell works in two steps: its tokenizer, in C, turns markup into a flat list of tokens
that open and close properly, and its builder makes a tree of Python objects of them, which takes
five times as long. Here the tokens are rendered as they come, and what is left out is passed over.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from html.entities import name2codepoint
from typing import Any, Final

# CTokenizer is there, but not in the module's __all__; None where it was not compiled.
from mwparserfromhell.parser import CTokenizer, tokens  # type: ignore[attr-defined]
from mwparserfromhell.parser.tokenizer import Tokenizer

from data_prep.wikitext_arguments import subscript, superscript
from data_prep.wikitext_finish import ITEM, LEFT_OUT, LINE_BREAK, protect, strip_quotes
from data_prep.wikitext_templates import find_renderer

Tokens = Iterator[Any]

_DROPPED_TAGS: Final = frozenset(
    {
        *("ref", "references", "table", "tr", "td", "th", "caption", "gallery", "timeline"),
        *("graph", "imagemap", "score", "style", "script", "templatestyles", "templatedata"),
        *("inputbox", "categorytree", "hiero", "indicator", "includeonly", "mapframe"),
        *("maplink", "section"),
    }
)
_BLOCK_TAGS: Final = frozenset({"p", "div", "blockquote", "center", "poem", "ul", "ol", "dl"})
_VERBATIM_TAGS: Final = frozenset({"syntaxhighlight", "source", "pre"})
_BULLETS: Final = {"*": f"{ITEM}- ", "#": f"{ITEM}- ", ":": ITEM, ";": ITEM}
_MAGIC_WORD: Final = re.compile(r"__[^\W\da-z_]{2,30}(?:_[^\W\da-z_]{2,30}){0,3}__")
_LANGUAGE_LINK: Final = re.compile(r"(?!(?:doi|mw|rfc|wmf):)[a-z]{2,3}(?:-[a-z]{2,8})*:|simple:")
_MEDIA_FILE: Final = re.compile(
    r"\.(?:jpe?g|png|gif|svg|tiff?|xcf|webp|webm|ogg|oga|ogv|wav|mp3|flac|mid|pdf|djvu) *$", re.I
)

_OPENING: Final = frozenset(
    {
        *(tokens.TemplateOpen, tokens.ArgumentOpen, tokens.WikilinkOpen, tokens.ExternalLinkOpen),
        *(tokens.HTMLEntityStart, tokens.HeadingStart, tokens.CommentStart, tokens.TagOpenOpen),
    }
)
_CLOSING: Final = frozenset(
    {
        *(tokens.TemplateClose, tokens.ArgumentClose, tokens.WikilinkClose),
        *(tokens.ExternalLinkClose, tokens.HTMLEntityEnd, tokens.HeadingEnd, tokens.CommentEnd),
        *(tokens.TagCloseClose, tokens.TagCloseSelfclose),
    }
)
_END_OF_TAG: Final = frozenset({tokens.TagCloseOpen, tokens.TagCloseSelfclose})


def tokenize(markup: str) -> Tokens:
    """Return the tokens of markup; quote marks stay in the text."""
    return iter((CTokenizer or Tokenizer)().tokenize(markup, 0, True))


def skip_to(stream: Tokens, ends: frozenset[Any]) -> Any:
    """Pass over everything up to a token of one of the types `ends` that is not inside another.

    Returns:
        That token, or None at the end of the page.
    """
    depth = 0
    for token in stream:
        kind = type(token)
        if not depth and kind in ends:
            return token
        if kind in _OPENING:
            depth += 1
        elif kind in _CLOSING:
            depth -= 1
    return None


class Renderer:
    """Renders a stream of tokens, each construct by the type of the token that opens it."""

    def __init__(self, hidden: frozenset[str]) -> None:
        """Prepare.

        Args:
            hidden: prefixes, in lower case, of links that show nothing.
        """
        self._hidden = hidden
        self._at_top: dict[type, Callable[[Any, Tokens], str]] = {
            tokens.WikilinkOpen: self._wikilink,
            tokens.ExternalLinkOpen: self._external_link,
            tokens.TemplateOpen: self._template,
            tokens.TagOpenOpen: self._tag,
            tokens.HTMLEntityStart: _entity,
            tokens.CommentStart: _leave_out(tokens.CommentEnd),
            tokens.ArgumentOpen: _leave_out(tokens.ArgumentClose),
        }
        self._inside = self._at_top | {tokens.HeadingStart: self._heading}

    def render_section(self, stream: Tokens) -> tuple[str, Any]:
        """Return the text up to the next heading, and the token that opens it (None: no more)."""
        return _render(stream, self._at_top)

    def render_inside(self, stream: Tokens) -> tuple[str, Any]:
        """Return the text of a part of a construct, and the token that ends the part."""
        return _render(stream, self._inside)

    def _heading(self, _: Any, stream: Tokens) -> str:
        return f"\n\n{self.render_inside(stream)[0]}\n"

    def _wikilink(self, _: Any, stream: Tokens) -> str:
        title, end = self.render_inside(stream)
        title = title.strip()
        prefix = title.partition(":")[0].strip().casefold()
        has_label = type(end) is tokens.WikilinkSeparator
        if prefix in self._hidden or _MEDIA_FILE.search(title):
            if has_label:
                skip_to(stream, frozenset({tokens.WikilinkClose}))
            return LEFT_OUT
        if has_label and (label := self.render_inside(stream)[0]).strip():
            return label
        return LEFT_OUT if _LANGUAGE_LINK.match(title) else title.lstrip(":")

    def _external_link(self, opening: Any, stream: Tokens) -> str:
        url, end = self.render_inside(stream)
        if type(end) is tokens.ExternalLinkSeparator:
            return self.render_inside(stream)[0]
        return LEFT_OUT if opening.brackets else url

    def _template(self, _: Any, stream: Tokens) -> str:
        name, end = self.render_inside(stream)
        render = find_renderer(name.replace(LEFT_OUT, ""))
        if render is None:
            if type(end) is not tokens.TemplateClose:
                skip_to(stream, frozenset({tokens.TemplateClose}))
            return LEFT_OUT
        arguments: dict[str, str] = {}
        num_positional = 0
        while type(end) is not tokens.TemplateClose:
            value, end = self.render_inside(stream)
            if type(end) is tokens.TemplateParamEquals:
                key = value.strip()
                value, end = self.render_inside(stream)
            else:
                num_positional += 1
                key = str(num_positional)
            arguments[key] = value.strip()
        return render(arguments) or LEFT_OUT

    def _tag(self, opening: Any, stream: Tokens) -> str:
        name, end = self.render_inside(stream)
        name = name.strip().casefold()
        if type(end) is tokens.TagAttrStart:
            end = skip_to(stream, _END_OF_TAG)
        dropped = name in _DROPPED_TAGS
        content = ""
        if type(end) is tokens.TagCloseOpen:
            if dropped:
                skip_to(stream, frozenset({tokens.TagCloseClose}))
            else:
                content = self.render_inside(stream)[0]
                skip_to(stream, frozenset({tokens.TagCloseClose}))
        if dropped:
            return LEFT_OUT
        if name in ("li", "dd", "dt") and opening.wiki_markup is not None:
            return _BULLETS.get(opening.wiki_markup, "")
        return LINE_BREAK if name in ("br", "hr") else _render_tag(name, content)


def _render(stream: Tokens, handlers: dict[type, Callable[[Any, Tokens], str]]) -> tuple[str, Any]:
    """Return the text up to the first token that opens nothing, which ends a part; and it."""
    parts: list[str] = []
    for token in stream:
        kind = type(token)
        if kind is tokens.Text:
            text = token["text"]
            parts.append(_MAGIC_WORD.sub("", text) if "__" in text else text)
        elif handler := handlers.get(kind):
            parts.append(handler(token, stream))
        else:
            return "".join(parts), token
    return "".join(parts), None


def _leave_out(end: Any) -> Callable[[Any, Tokens], str]:
    ends = frozenset({end})

    def skip(_: Any, stream: Tokens) -> str:
        skip_to(stream, ends)
        return LEFT_OUT

    return skip


def _render_tag(name: str, content: str) -> str:
    if name == "nowiki":
        return protect(content)
    if name in _VERBATIM_TAGS:
        return f"{LINE_BREAK}{protect(content, spaces=True)}{LINE_BREAK}"
    if name == "math":
        formula = " ".join(content.split())
        return f"${protect(formula)}$" if formula else LEFT_OUT
    if name == "sup":
        return superscript(strip_quotes(content).strip())
    if name == "sub":
        return subscript(strip_quotes(content).strip())
    if name == "li":
        return f"{LINE_BREAK}- {content}"
    if name == "poem":
        content = content.replace("\n", LINE_BREAK)
    if name in _BLOCK_TAGS:
        return f"{LINE_BREAK}{content}{LINE_BREAK}"
    return content


def _entity(_: Any, stream: Tokens) -> str:
    base = 0
    for token in stream:
        kind = type(token)
        if kind is tokens.HTMLEntityNumeric:
            base = 10
        elif kind is tokens.HTMLEntityHex:
            base = 16
        elif kind is tokens.Text:
            value = token["text"]
        else:
            break
    text = chr(int(value, base) if base else name2codepoint[value])
    hidden = any(unicodedata.category(char) in ("Cc", "Cs") for char in text)
    return " " if text in ("\t", "\n") else "" if hidden else protect(text)
