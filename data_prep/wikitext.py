"""From wiki markup to plain text: one pass over the tokens of a page.

A paragraph becomes one line. Links become their labels, inline templates the text they stand for
(`wikitext_templates`), lists lines with a dash, math its LaTeX source. References, tables, media,
galleries, navigation and the sections at the end of an article (references, external links) are
left out. The result depends on the markup alone: no clock, no network, no template pages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mwparserfromhell.parser import tokens

from data_prep.wikitext_finish import drop_controls, finish
from data_prep.wikitext_render import Renderer, Tokens, skip_to, tokenize

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
class LinkPrefixes:
    """Namespaces whose links show no text, in lower case: in English and in the wiki's language."""

    media: frozenset[str] = frozenset({"file", "image", "media"})
    category: frozenset[str] = frozenset({"category"})

    @classmethod
    def of_namespaces(cls, namespaces: Mapping[int, str]) -> "LinkPrefixes":
        """Return the prefixes of a wiki: its media (-2), file (6) and category (14) namespaces."""
        local = {key: frozenset({name.casefold()}) for key, name in namespaces.items()}
        nothing = frozenset[str]()
        return cls(
            media=cls().media | local.get(-2, nothing) | local.get(6, nothing),
            category=cls().category | local.get(14, nothing),
        )


def clean_wikitext(markup: str, prefixes: LinkPrefixes) -> str:
    """Return the text of a page.

    Args:
        markup: wikitext within the limits of `find_excess`.
        prefixes: of links that show nothing.

    Raises:
        ParserError: the parser cannot read the page.
    """
    renderer = Renderer(prefixes.media | prefixes.category)
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
