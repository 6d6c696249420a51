"""Inline templates that carry facts, each with the text it stands for.

A template that is not in the table is left out: citations, navigation boxes, infoboxes, hatnotes.
To render one more, write a function from its arguments to text and add its name to the table.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

SUPERSCRIPTS: Final = str.maketrans(
    "0123456789+-=()n\u2212",
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207c\u207d\u207e\u207f"
    "\u207b",
)
SUBSCRIPTS: Final = str.maketrans(
    "0123456789+-=()n\u2212",
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b\u208c\u208d\u208e\u2099"
    "\u208b",
)

_SHIFTABLE: Final = re.compile("[0-9+=()n\u2212-]+")
_RANGE_WORDS: Final = frozenset(
    {"to", "and", "or", "by", "x", "-", "\u2013", "+", "*", "to(-)", "and(-)", "\u00b1", "+/-"}
)
_NUMBER: Final = re.compile(r"[+\u2212-]?[0-9][0-9.,/+]*")
_CHARGE: Final = re.compile("[0-9]*[+\u2212-]")
_FORMATTED_NUMBER: Final = re.compile(r"formatnum: ?([0-9.,-]+)")
_UNITS: Final = {
    "C": "\u00b0C",
    "F": "\u00b0F",
    "K": "K",
    "km2": "km\u00b2",
    "m2": "m\u00b2",
    "cm2": "cm\u00b2",
    "km3": "km\u00b3",
    "m3": "m\u00b3",
    "cm3": "cm\u00b3",
    "sqmi": "sq mi",
    "sqft": "sq ft",
    "sqkm": "km\u00b2",
    "cuft": "cu ft",
    "kph": "km/h",
    "impgal": "imp gal",
    "usgal": "US gal",
}
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_LANGUAGES: Final = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gd": "Scottish Gaelic",
    "grc": "Ancient Greek",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "ko": "Korean",
    "la": "Latin",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sr": "Serbian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "zh": "Chinese",
}
_ACCIDENTALS: Final = {
    "flat": "\u266d",
    "b": "\u266d",
    "sharp": "\u266f",
    "#": "\u266f",
    "natural": "\u266e",
}
_IPA_FLAGS: Final = frozenset(
    {"lang", "pron", "local", "icon", "us", "uk", "us also", "uk also", "also", "ipa", "audio"}
)


Arguments = Mapping[str, str]
"""Rendered arguments by name; positional ones are "1", "2", ..."""
Renderer = Callable[[Arguments], str]


def find_renderer(name: str) -> Renderer | None:
    """Return how to render the template of a name, or None to leave it out.

    Args:
        name: as in the markup; case, underscores and white space are normalised here.
    """
    name = " ".join(name.replace("_", " ").split()).casefold()
    if renderer := _RENDERERS.get(name):
        return renderer
    if name.startswith("lang-"):
        return _language_renderer(name.removeprefix("lang-"))
    if name.startswith("ipa-"):
        return lambda arguments: f"[{arguments.get('1', '')}]"
    if name.startswith("script/"):
        return _first
    if number := _FORMATTED_NUMBER.fullmatch(name):
        return _constant(_group_digits(number[1]))
    return None


def shift(text: str, table: dict[int, int]) -> str:
    """Write digits and signs as super- or subscripts where every character has one."""
    return text.translate(table) if _SHIFTABLE.fullmatch(text) else text


def _positional(arguments: Arguments) -> list[str]:
    values: list[str] = []
    while (name := str(len(values) + 1)) in arguments:
        values.append(arguments[name])
    return values


def _first(arguments: Arguments) -> str:
    for name in ("1", "text", "quote", "content"):
        if value := arguments.get(name):
            return value
    return ""


def _second(arguments: Arguments) -> str:
    return arguments.get("2", "")


def _last(arguments: Arguments) -> str:
    values = _positional(arguments)
    return values[-1] if values else ""


def _constant(text: str) -> Renderer:
    return lambda _: text


def _around(before: str, after: str = "") -> Renderer:
    return lambda arguments: f"{before}{value}{after}" if (value := _first(arguments)) else ""


def _joined(separator: str, before: str = "", after: str = "") -> Renderer:
    def render(arguments: Arguments) -> str:
        values = [value for value in _positional(arguments) if value]
        return before + separator.join(values) + after if values else ""

    return render


def _language_renderer(code: str) -> Renderer:
    name = _LANGUAGES.get(code) or _LANGUAGES.get(code.partition("-")[0])
    return _around(f"{name}: " if name else "")


def _langx(arguments: Arguments) -> str:
    return _language_renderer(arguments.get("1", "").casefold())({"1": _second(arguments)})


def _group_digits(number: str) -> str:
    """Write a whole number with a comma every three digits, as MediaWiki shows it."""
    return f"{int(number):,}" if number.isdecimal() and len(number) < 30 else number


def _convert(arguments: Arguments) -> str:
    """Render the quantity as it is given; the computed conversion adds nothing to it."""
    values = _positional(arguments)
    words: list[str] = values[:1]
    rest = values[1:]
    while len(rest) >= 2 and rest[0] in _RANGE_WORDS and _NUMBER.fullmatch(rest[1]):
        words += [rest[0].removesuffix("(-)"), rest[1]]
        rest = rest[2:]
    if rest:
        words.append(_UNITS.get(rest[0], rest[0]))
    if len(rest) >= 3 and _NUMBER.fullmatch(rest[1]) and not _NUMBER.fullmatch(rest[2]):
        words += [rest[1], _UNITS.get(rest[2], rest[2])]  # 5 ft 6 in
    return " ".join(map(_group_digits, words))


def _fraction(arguments: Arguments) -> str:
    values = _positional(arguments)
    if len(values) == 1:
        return f"1/{values[0]}"
    return " ".join([*values[:-2], "/".join(values[-2:])])


def _value(arguments: Arguments) -> str:
    values = _positional(arguments)
    text = "\u00b1".join(values[:2])
    if exponent := arguments.get("e"):
        text += f"\u00d710{shift(exponent, SUPERSCRIPTS)}"
    unit = arguments.get("u") or arguments.get("ul") or ""
    return f"{text} {unit}".strip()


def _chemistry(arguments: Arguments) -> str:
    return "".join(
        shift(value, SUPERSCRIPTS if _CHARGE.fullmatch(value) else SUBSCRIPTS)
        for value in _positional(arguments)
    )


def _as_of(arguments: Arguments) -> str:
    if alternative := arguments.get("alt"):
        return alternative
    word = "Since" if arguments.get("since") else "As of"
    lower = arguments.get("lc") or arguments.get("lowercase")
    return f"{word.lower() if lower else word} {_day_month_year(_positional(arguments))}"


def _date(arguments: Arguments) -> str:
    return _day_month_year(_positional(arguments)[:3])


def _day_month_year(values: list[str]) -> str:
    """Write (year, month, day), of which the later may be missing, as "5 May 1980"."""
    if len(values) >= 2 and values[1].isdecimal() and 1 <= int(values[1]) <= len(_MONTHS):
        values = [values[0], _MONTHS[int(values[1]) - 1], *values[2:]]
    return " ".join(value for value in reversed(values[:3]) if value)


def _circa(arguments: Arguments) -> str:
    return " \u2013 ".join(f"c. {value}" for value in _positional(arguments) if value)


def _nihongo(arguments: Arguments) -> str:
    english, *originals = [*_positional(arguments), ""]
    originals = [value for value in originals if value]
    return f"{english} ({', '.join(originals)})" if originals else english


def _chinese(arguments: Arguments) -> str:
    labels = {"t": "traditional Chinese", "s": "simplified Chinese", "c": "Chinese", "p": "pinyin"}
    named = [f"{label}: {arguments[key]}" for key, label in labels.items() if arguments.get(key)]
    return "; ".join(named) or _first(arguments)


def _ipa_codes(arguments: Arguments) -> str:
    sounds = [value for value in _positional(arguments) if value.casefold() not in _IPA_FLAGS]
    return f"/{''.join(sounds)}/" if sounds else ""


def _quotation(arguments: Arguments) -> str:
    author = arguments.get("author") or arguments.get("by") or arguments.get("2") or ""
    text = _first(arguments)
    return f"\n{text}\n" + (f"\u2014 {author}\n" if author else "") if text else ""


def _list(arguments: Arguments) -> str:
    return "".join(f"\n- {value}" for value in _positional(arguments)) + "\n"


def _columns(arguments: Arguments) -> str:
    columns = (arguments.get(f"col{number}", "") for number in range(1, 10))
    return "\n".join(["", *filter(None, columns), ""])


def _interlanguage(arguments: Arguments) -> str:
    return arguments.get("lt") or _first(arguments)


def _height(arguments: Arguments) -> str:
    units = ("m", "cm", "ft", "in")
    return " ".join(f"{arguments[unit]} {unit}" for unit in units if arguments.get(unit))


def _years(before: str) -> Renderer:
    return _joined("\u2013", before=before)


def _table(*groups: tuple[str, Renderer]) -> dict[str, Renderer]:
    return {name: renderer for names, renderer in groups for name in names.split("|")}


_RENDERERS: Final = _table(
    (
        "nowrap|nobr|small|smaller|big|large|larger|sc|smallcaps|vanchor|visible anchor|math|mvar"
        "|var|em|strong|mono|code|kbd|samp|tt|linktext|center|centre|unichar|ipa|iast|unicode|polytonic"
        "|hebrew|pie|abbr|tooltip|hover title|flag|flagcountry|flagu|script|bigmath|nastaliq|resize"
        "|columns-list|oldstyledate|bold|italic|underline"
        "|not a typo|as written|typo|proper name",
        _first,
    ),
    ("lang|rtl-lang|font color|color|colour", _second),
    ("transl|transliteration|translit", _last),
    ("langx", _langx),
    ("convert|cvt|conv", _convert),
    ("frac|sfrac|fraction", _fraction),
    ("val", _value),
    ("chem|chem2", _chemistry),
    ("as of", _as_of),
    (
        "birth date|birth date and age|birth-date|death date|death date and age|start date|end date"
        "|start date and age|date|dts|film date",
        _date,
    ),
    ("circa|c.|ca.", _circa),
    ("floruit|fl.", _years("fl. ")),
    ("reign|r.", _years("r. ")),
    ("born|b.", _years("b. ")),
    ("died|d.", _years("d. ")),
    ("nihongo|nihongo2|nihongo3", _nihongo),
    ("zh|zh-cn|zh-tw", _chinese),
    ("ipac-en|ipac-pl|ipac-de", _ipa_codes),
    ("respell|pronunciation respelling", _joined("-")),
    ("angbr|angle bracket", _around("\u27e8", "\u27e9")),
    ("angbr ipa", _around("\u27e8", "\u27e9")),
    ("lit|literally|literal translation", _around("lit. '", "'")),
    ("gloss", _around("'", "'")),
    ("hlist|ubl|unbulleted list|flatlist|plainlist|cslist", _joined(", ")),
    ("ordered list|bulleted list", _list),
    ("columns", _columns),
    ("quote|cquote|blockquote|quotation|bquote|centered pull quote|rquote", _quotation),
    ("ill|interlanguage link|interlanguage link multi|link-interwiki", _interlanguage),
    ("height", _height),
    ("sup", lambda arguments: shift(_first(arguments), SUPERSCRIPTS)),
    ("sub", lambda arguments: shift(_first(arguments), SUBSCRIPTS)),
    ("e", lambda arguments: f"\u00d710{shift(_first(arguments), SUPERSCRIPTS)}"),
    ("us$|usd", _around("US$")),
    ("gbp|\u00a3|pound sterling", _around("\u00a3")),
    ("eur|\u20ac|euro", _around("\u20ac")),
    ("inr|indian rupee", _around("\u20b9")),
    ("music", lambda arguments: _ACCIDENTALS.get(_first(arguments), "")),
    ("ndash|en dash|\u2013|nsndns", _constant("\u2013")),
    ("snd|spnd|spaced ndash|spaced en dash|sndash", _constant(" \u2013 ")),
    ("mdash|mdashb|em dash|\u2014", _constant("\u2014")),
    ("nbsp|space|thinsp|thin space|hair space|hsp|spaces|sp", _constant(" ")),
    ("'|apostrophe", _constant("'")),
    ("'s", _constant("'s")),
    ("\" '|double+single", _constant("\"'")),
    ("' \"|single+double", _constant("'\"")),
    ("=", _constant("=")),
    ("!|pipe", _constant("|")),
    ("\u00b7|middot|dot|\u2022|bull|bullet", _constant(" \u00b7 ")),
    ("okina|\u02bbokina", _constant("\u02bb")),
    ("pi", _constant("\u03c0")),
    ("sic", _constant("[sic]")),
    ("clear|-|br", _constant("\n")),
)
