"""Inline templates that carry facts, each with the text it stands for.

A template that is not in the table is left out: citations, navigation boxes, infoboxes, hatnotes.
To render one more, write a function from its arguments to text and add its name to the table.
"""

import re
from typing import Final

from data_prep.wikitext_arguments import (
    Arguments,
    Renderer,
    around,
    constant,
    first,
    joined,
    last,
    name_renderers,
    positional,
    second,
    subscript,
    superscript,
)
from data_prep.wikitext_finish import LINE_BREAK
from data_prep.wikitext_names import COUNTRIES, LANGUAGES
from data_prep.wikitext_quantities import QUANTITIES, group_digits

_FORMATTED_NUMBER: Final = re.compile(r"formatnum: ?([0-9.,-]+)")
_ACCIDENTALS: Final = {
    "flat": "\u266d",
    "b": "\u266d",
    "sharp": "\u266f",
    "#": "\u266f",
    "natural": "\u266e",
}
_SHIP_PREFIXES: Final = (
    *("HMAS", "HMCS", "HMS", "INS", "MS", "MV", "RMS", "SMS", "SS", "USCGC", "USNS", "USS"),
)
_IPA_FLAGS: Final = frozenset(
    {"lang", "pron", "local", "icon", "us", "uk", "us also", "uk also", "also", "ipa", "audio"}
)


def find_renderer(name: str) -> Renderer | None:
    """Return how to render the template of a name, or None to leave it out.

    Args:
        name: as in the markup; case, underscores and white space are normalised here, but the code
            of a country must be in capitals.
    """
    if name.isupper() and (country := COUNTRIES.get(name.strip().casefold())):
        return constant(country)
    name = " ".join(name.replace("_", " ").split()).casefold()
    if renderer := _RENDERERS.get(name):
        return renderer
    if name.startswith("lang-"):
        return _language_renderer(name.removeprefix("lang-"))
    if name.startswith("ipa-"):
        return around("[", "]")
    if name.startswith("script/"):
        return first
    if number := _FORMATTED_NUMBER.fullmatch(name):
        return constant(group_digits(number[1]))
    return None


def _language_renderer(code: str) -> Renderer:
    name = LANGUAGES.get(code) or LANGUAGES.get(code.partition("-")[0])
    return around(f"{name}: " if name else "")


def _langx(arguments: Arguments) -> str:
    return _language_renderer(arguments.get("1", "").casefold())({"1": second(arguments)})


def _nihongo(arguments: Arguments) -> str:
    english, *originals = [*positional(arguments), ""]
    originals = [value for value in originals if value]
    return f"{english} ({', '.join(originals)})" if originals else english


def _chinese(arguments: Arguments) -> str:
    labels = {"t": "traditional Chinese", "s": "simplified Chinese", "c": "Chinese", "p": "pinyin"}
    named = [f"{label}: {arguments[key]}" for key, label in labels.items() if arguments.get(key)]
    return "; ".join(named) or first(arguments)


def _ipa_codes(arguments: Arguments) -> str:
    sounds = [value for value in positional(arguments) if value.casefold() not in _IPA_FLAGS]
    return f"/{''.join(sounds).replace('_', ' ')}/" if sounds else ""


def _quotation(arguments: Arguments) -> str:
    text = first(arguments)
    author = next(filter(None, map(arguments.get, ("author", "by", "sign", "2"))), "")
    source = next(filter(None, map(arguments.get, ("source", "title", "3"))), "")
    origin = ", ".join(filter(None, (author, source)))
    signature = f"\u2014 {origin}{LINE_BREAK}" if origin else ""
    return f"{LINE_BREAK}{text}{LINE_BREAK}{signature}" if text else ""


def _ship(prefix: str) -> Renderer:
    def render(arguments: Arguments) -> str:
        name, number = [*positional(arguments), "", ""][:2]
        return f"{prefix} {name}".strip() + (f" ({number})" if number else "") if name else ""

    return render


def _named_ship(arguments: Arguments) -> str:
    prefix, *rest = [*positional(arguments), ""]
    return _ship(prefix)({str(place): value for place, value in enumerate(rest, start=1)})


def _verse(arguments: Arguments) -> str:
    values = positional(arguments)
    places = [place for place, value in enumerate(values) if ":" in value]
    return " ".join(values[: places[0] + 1 if places else 2])


def _author_year(arguments: Arguments) -> str:
    *authors, year = positional(arguments) or [""]
    return f"{' & '.join(authors)} ({year})" if authors else year


def _list(arguments: Arguments) -> str:
    return "".join(f"{LINE_BREAK}- {value}" for value in positional(arguments)) + LINE_BREAK


def _columns(arguments: Arguments) -> str:
    columns = (arguments.get(f"col{number}", "") for number in range(1, 10))
    return "\n".join(["", *filter(None, columns), ""])


def _interlanguage(arguments: Arguments) -> str:
    return arguments.get("lt") or first(arguments)


_RENDERERS: Final = QUANTITIES | name_renderers(
    (
        "nowrap|nobr|small|smaller|big|large|larger|sc|smallcaps|vanchor|visible anchor|math|mvar"
        "|var|em|strong|mono|code|kbd|samp|tt|linktext|center|centre|unichar|ipa|iast|unicode|polytonic"
        "|hebrew|pie|abbr|tooltip|hover title|flag|flagcountry|flagu|script|bigmath|nastaliq|resize"
        "|columns-list|bold|italic|underline|overline|strike|nobold|awrap|no wrap|longitem|nq|ta"
        "|tutto attaccato|maiuscoletto|cas|not a typo|as written|typo|proper name|senza fonte"
        "|citation needed span|cn span|fact span",
        first,
    ),
    ("lang|rtl-lang|font color|color|colour", second),
    ("transl|transliteration|translit|tlit|pre2", last),
    ("langx", _langx),
    ("nihongo|nihongo2|nihongo3", _nihongo),
    ("zh|zh-cn|zh-tw", _chinese),
    ("ipac-en|ipac-pl|ipac-de", _ipa_codes),
    ("key|keypress|key press", joined("+")),
    ("extinct|dagger|\u2020", constant("\u2020")),
    ("respell|pronunciation respelling", joined("-")),
    ("angbr|angle bracket", around("\u27e8", "\u27e9")),
    ("angbr ipa", around("\u27e8", "\u27e9")),
    ("lit|literally|literal translation", around("lit. '", "'")),
    ("gloss", around("'", "'")),
    ("hlist|ubl|unbulleted list|flatlist|plainlist|cslist", joined(", ")),
    ("ordered list|bulleted list", _list),
    ("columns", _columns),
    ("quote|cquote|blockquote|quotation|bquote|centered pull quote|rquote", _quotation),
    ("ill|interlanguage link|interlanguage link multi|link-interwiki", _interlanguage),
    ("sup", lambda arguments: superscript(first(arguments))),
    ("sub", lambda arguments: subscript(first(arguments))),
    ("music", lambda arguments: _ACCIDENTALS.get(first(arguments), "")),
    ("ndash|en dash|\u2013|nsndns", constant("\u2013")),
    ("snd|snds|spnd|spaced ndash|spaced en dash|sndash", constant(" \u2013 ")),
    ("mdash|mdashb|em dash|emdash|\u2014", constant("\u2014")),
    ("nbsp|space|thinsp|thin space|hair space|hsp|spaces|sp", constant(" ")),
    ("'|apostrophe", constant("'")),
    ("'s", constant("'s")),
    ("\" '|double+single", constant("\"'")),
    ("' \"|single+double", constant("'\"")),
    ("=", constant("=")),
    ("!|pipe", constant("|")),
    ("\u00b7|middot|dot|\u2022|bull|bullet", constant(" \u00b7 ")),
    ("okina|\u02bbokina", constant("\u02bb")),
    ("pi", constant("\u03c0")),
    ("eqm", constant("\u21cc")),
    ('-"', constant('"')),
    *((prefix.casefold(), _ship(prefix)) for prefix in _SHIP_PREFIXES),
    ("ship", _named_ship),
    ("sclass|sclass-|sclass2|sclass2-", joined("-class ")),
    ("bibleref|bibleref2|bibleverse", _verse),
    ("cite quran", joined(":", before="Quran ")),
    ("harvtxt", _author_year),
    ("us patent", around("U.S. Patent ")),
    ("sic", constant("[sic]")),
    ("clear|-|br", constant(LINE_BREAK)),
)
