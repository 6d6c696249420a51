"""From wiki markup to plain text: one walk over the parsed page.

Links become their labels, inline templates the text they stand for (`wikitext_templates`), lists
lines with a dash, math its LaTeX source. References, tables, media, galleries, navigation and the
sections at the end of an article (references, external links) are left out. The result depends on
the markup alone: no clock, no network, no template pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mwparserfromhell.parser import tokens

from data_prep.documents import Document, Quarantined
from data_prep.wikitext_finish import drop_controls, finish
from data_prep.wikitext_limits import find_excess
from data_prep.wikitext_render import Renderer, Tokens, skip_to, tokenize

CLEANER_VERSION: Final = "nulls-1"
_HEADING: Final = frozenset({tokens.HeadingStart})
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


def clean_wikitext(markup: str, hidden: HiddenPrefixes | None = None) -> str:
    """Return the text of a page.

    Args:
        markup: wikitext within the limits of `find_excess`.
        hidden: link prefixes that show nothing; the English ones by default.
    """
    renderer = Renderer((hidden or HiddenPrefixes()).names)
    return "\n\n".join(_join_sections(_read_sections(tokenize(drop_controls(markup)), renderer)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    level: int
    heading: str
    body: str


def _read_sections(stream: Tokens, renderer: Renderer) -> list[_Section]:
    """Render the sections of a page, without those at an article's end."""
    sections: list[_Section] = []
    level, heading = 0, ""
    dropped_level = 0  # level of the heading of the section that is being left out, if any
    while True:
        if dropped_level:
            end = skip_to(stream, _HEADING)
        else:
            body, end = renderer.render_section(stream)
            sections.append(_Section(level=level, heading=heading, body=finish(body)))
        if end is None:
            return sections
        level, heading = end.level, finish(renderer.render_inside(stream)[0])
        if not dropped_level or level <= dropped_level:
            ends = heading.casefold().rstrip(" :") in _END_SECTIONS
            dropped_level = level if ends else 0


def _join_sections(sections: list[_Section]) -> list[str]:
    """Return the sections as text; a heading without text below it is left out."""
    texts: list[str] = []
    kept_level = 0  # level of the heading kept last, which is the next one in the page
    for section in reversed(sections):
        if section.body or section.level < kept_level:
            texts.append("\n".join(text for text in (section.heading, section.body) if text))
            kept_level = section.level
    return [text for text in reversed(texts) if text]
