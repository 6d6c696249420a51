"""From wiki markup to plain text: one walk over the parsed page.

Links become their labels, inline templates the text they stand for (`wikitext_templates`), lists
lines with a dash, math its LaTeX source. References, tables, media, galleries, navigation and the
sections at the end of an article (references, external links) are left out. The result depends on
the markup alone: no clock, no network, no template pages.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import mwparserfromhell
from mwparserfromhell import nodes

from data_prep.documents import Document, Quarantined
from data_prep.wikitext_finish import LEFT_OUT, drop_controls, finish, protect, strip_quotes
from data_prep.wikitext_templates import SUBSCRIPTS, SUPERSCRIPTS, find_renderer, shift

CLEANER_VERSION: Final = "nulls-1"
MAX_MARKUP_BYTES: Final = 2_000_000
MAX_DEPTH: Final = 40
"""Deepest nesting of templates, links and tables; the parser itself gives up beyond it."""
MAX_LEFT_OPEN: Final = 500
"""Most tags, comments or brackets open at once; the parser's time is quadratic in their number."""

_LIMITS: Final = (
    (re.compile(r"(\{\{|\[\[|\{\|)|\}\}|\]\]|\|\}"), MAX_DEPTH, "templates, links and tables"),
    (
        re.compile(r"(<(?!(?:br|hr|wbr|li|dd|dt|td|th|tr)\b)[a-z])|</|/>", re.I),
        MAX_LEFT_OPEN,
        "tags",
    ),
    (re.compile(r"(<!--)|-->"), MAX_LEFT_OPEN, "comments"),
    (re.compile(r"(\[)|\]"), MAX_LEFT_OPEN, "brackets"),
)
"""Pattern whose group 1 opens and whose other matches close, the deepest nesting, and of what."""

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
_BULLETS: Final = {"*": "- ", "#": "- ", ":": "", ";": ""}
_MAGIC_WORD: Final = re.compile(r"__[A-Z]{3,30}__")
_LANGUAGE_LINK: Final = re.compile(r"(?!(?:doi|mw|rfc|wmf):)[a-z]{2,3}(?:-[a-z]{2,8})*:|simple:")
_MEDIA_FILE: Final = re.compile(
    r"\.(?:jpe?g|png|gif|svg|tiff?|xcf|webp|webm|ogg|oga|ogv|wav|mp3|flac|mid|pdf|djvu) *$", re.I
)
_END_SECTIONS: Final = frozenset(
    {
        *("references", "external links", "see also", "further reading", "notes", "bibliography"),
        *("sources", "footnotes", "notes and references", "references and notes", "citations"),
        *("works cited", "external link", "notes and citations", "general references"),
        *("note", "bibliografia", "altri progetti", "collegamenti esterni", "voci correlate"),
        *("einzelnachweise", "weblinks", "literatur", "siehe auch"),
        *("r\u00e9f\u00e9rences", "liens externes", "voir aussi", "notes et r\u00e9f\u00e9rences"),
        *("referencias", "enlaces externos", "v\u00e9ase tambi\u00e9n", "bibliograf\u00eda"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenPrefixes:
    """Namespaces whose links show nothing, or a picture: in English and in the wiki's language."""

    names: frozenset[str] = frozenset({"file", "image", "media", "category"})

    @classmethod
    def of_namespaces(cls, namespaces: Mapping[int, str]) -> "HiddenPrefixes":
        """Return the prefixes of a wiki: its media (-2), file (6) and category (14) namespaces."""
        local = {namespaces[key].casefold() for key in (-2, 6, 14) if key in namespaces}
        return cls(names=cls().names | local)


@dataclass(frozen=True, kw_only=True, slots=True)
class NullsCleaner:
    """Cleans pages; picklable, so that worker processes can have it."""

    hidden: HiddenPrefixes = HiddenPrefixes()

    def __call__(self, document: Document) -> Document | Quarantined:
        """Return the page as text, or quarantined where its markup breaks a limit."""
        reason = find_excess(document.text)
        if reason is not None:
            return Quarantined(source_key=document.source_key, title=document.title, reason=reason)
        return replace(document, text=clean_wikitext(document.text, self.hidden))


def find_excess(markup: str) -> str | None:
    """Return which limit a page breaks, or None; the time is linear in its length."""
    if len(markup.encode()) > MAX_MARKUP_BYTES:
        return f"more than {MAX_MARKUP_BYTES} bytes of markup"
    for pattern, limit, name in _LIMITS:
        depth = 0
        for match in pattern.finditer(markup):
            depth = depth + 1 if match[1] else max(0, depth - 1)
            if depth > limit:
                return f"{name} nested deeper than {limit}"
    return None


def clean_wikitext(markup: str, hidden: HiddenPrefixes | None = None) -> str:
    """Return the text of a page.

    Args:
        markup: wikitext within the limits of `find_excess`.
        hidden: link prefixes that show nothing; the English ones by default.
    """
    walk = _Walk(hidden or HiddenPrefixes())
    page = mwparserfromhell.parse(drop_controls(markup), skip_style_tags=True)
    return "\n\n".join(_join_sections(_split_sections(page.nodes, walk)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    level: int
    heading: str
    body: str


def _split_sections(page: Iterable[Any], walk: "_Walk") -> list[_Section]:
    """Render the sections of a page, without those at an article's end."""
    sections: list[_Section] = []
    level, heading, parts = 0, "", list[str]()
    dropped_level = 0
    for node in page:
        if isinstance(node, nodes.Heading):
            if not dropped_level:
                sections.append(_Section(level=level, heading=heading, body=finish("".join(parts))))
            level, heading, parts = node.level, finish(walk.render(node.title)), []
            if not dropped_level or level <= dropped_level:
                ends = heading.casefold().rstrip(" :") in _END_SECTIONS
                dropped_level = level if ends else 0
        elif not dropped_level:
            parts.append(walk.render_node(node))
    if not dropped_level:
        sections.append(_Section(level=level, heading=heading, body=finish("".join(parts))))
    return sections


def _join_sections(sections: list[_Section]) -> list[str]:
    """Return the sections as text; a heading without text below it is left out."""
    texts: list[str] = []
    kept_level = 0  # level of the heading kept last, which is the next one in the page
    for section in reversed(sections):
        if section.body or section.level < kept_level:
            texts.append("\n".join(text for text in (section.heading, section.body) if text))
            kept_level = section.level
    return [text for text in reversed(texts) if text]


class _Walk:
    """Renders nodes by their type."""

    def __init__(self, hidden: HiddenPrefixes) -> None:
        self._hidden = hidden
        self._by_type: dict[type, Callable[[Any], str]] = {
            nodes.Text: lambda node: _MAGIC_WORD.sub("", node.value),
            nodes.Wikilink: self._wikilink,
            nodes.ExternalLink: self._external_link,
            nodes.Template: self._template,
            nodes.Tag: self._tag,
            nodes.HTMLEntity: _entity,
            nodes.Heading: lambda node: f"\n\n{self.render(node.title)}\n",
            nodes.Comment: lambda node: LEFT_OUT,
            nodes.Argument: lambda node: LEFT_OUT,
        }

    def render(self, code: Any) -> str:
        """Return the text of parsed markup."""
        return "" if code is None else "".join(map(self.render_node, code.nodes))

    def render_node(self, node: Any) -> str:
        """Return the text of one node."""
        return self._by_type[type(node)](node)

    def _wikilink(self, node: nodes.Wikilink) -> str:
        title = str(node.title).strip()
        prefix = title.partition(":")[0].strip().casefold()
        if prefix in self._hidden.names or _MEDIA_FILE.search(title):
            return LEFT_OUT
        label = self.render(node.text)
        if label.strip():
            return label
        if _LANGUAGE_LINK.match(title):
            return LEFT_OUT
        return self.render(node.title).lstrip(":")

    def _external_link(self, node: nodes.ExternalLink) -> str:
        if node.title is not None:
            return self.render(node.title)
        return LEFT_OUT if node.brackets else str(node.url)

    def _template(self, node: nodes.Template) -> str:
        name = str(node.name.strip_code() if "<!--" in node.name else node.name)
        renderer = find_renderer(name)
        if renderer is None:
            return LEFT_OUT
        arguments = {
            str(parameter.name).strip(): self.render(parameter.value).strip()
            for parameter in node.params
        }
        return renderer(arguments) or LEFT_OUT

    def _tag(self, node: nodes.Tag) -> str:
        name = str(node.tag).strip().casefold()
        if name in _DROPPED_TAGS:
            return LEFT_OUT
        if name in ("li", "dd", "dt") and node.wiki_markup is not None:
            return _BULLETS.get(str(node.wiki_markup), "")
        if name in ("br", "hr"):
            return "\n"
        content = self.render(node.contents)
        return _render_tag(name, content)


def _render_tag(name: str, content: str) -> str:
    if name == "nowiki":
        return protect(content)
    if name in _VERBATIM_TAGS:
        return f"\n{protect(content, spaces=True)}\n"
    if name == "math":
        return f"${protect(content.strip())}$" if content.strip() else LEFT_OUT
    if name == "sup":
        return shift(strip_quotes(content).strip(), SUPERSCRIPTS)
    if name == "sub":
        return shift(strip_quotes(content).strip(), SUBSCRIPTS)
    if name == "li":
        return f"\n- {content}"
    if name in _BLOCK_TAGS:
        return f"\n{content}\n"
    return content


def _entity(node: nodes.HTMLEntity) -> str:
    try:
        text = str(node.normalize())
    except (ValueError, OverflowError):
        return ""
    hidden = any(unicodedata.category(char) in ("Cc", "Cs") for char in text)
    return " " if text in ("\t", "\n") else "" if hidden else protect(text)
