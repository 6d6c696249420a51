"""The recipe of Hugging Face's Wikipedia dataset, for corpora that must be comparable with it.

The steps are those of `_parse_and_clean_wikicode` in the dataset's script wikipedia.py, version
2.0.0 (huggingface.co/datasets/legacy-datasets/wikipedia, earlier github.com/huggingface/datasets):
section by section, links to media, references and tables are removed and categories lose their
prefix; strip_code does the rest; magic words are deleted. Inline templates are lost, and the facts
in them. One thing differs: the names of the media and category namespaces are those of the dump,
where the script has a list of them by language.
"""

import contextlib
import re
from collections.abc import Iterable
from typing import Any, Final

import mwparserfromhell

from data_prep.wikitext import LinkPrefixes

_MAGIC_WORD: Final = re.compile("__[A-Z]*__")
_REMOVED_TAGS: Final = frozenset({"ref", "table"})


def clean_like_hugging_face(markup: str, prefixes: LinkPrefixes) -> str:
    """Return the text of a page.

    Args:
        markup: wikitext within the limits of `find_excess`.
        prefixes: of links to media and to categories.

    Raises:
        ParserError: the parser cannot read the page.
    """
    media, category = _match_prefix(prefixes.media), _match_prefix(prefixes.category)
    texts: list[str] = []
    page = mwparserfromhell.parse(markup)
    for section in page.get_sections(flat=True, include_lead=True, include_headings=True):
        # The script changes the section while it walks through it, and so does this.
        for link in section.ifilter_wikilinks():
            if media.match(str(link.title)):
                _remove(section, link)
            elif category.match(str(link.title)):
                with contextlib.suppress(ValueError):
                    link.text = category.sub("", str(link.__strip__()))
        for tag in section.ifilter_tags():
            if str(tag.tag) in _REMOVED_TAGS:
                _remove(section, tag)
        texts.append(_MAGIC_WORD.sub("", section.strip_code().strip()))
    return "\n\n".join(texts)


def _match_prefix(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(f"^(?:{'|'.join(map(re.escape, sorted(names)))}):", re.I)


def _remove(section: Any, node: Any) -> None:
    """Remove a node, unless it went with another one that held it."""
    with contextlib.suppress(ValueError):
        section.remove(node)
