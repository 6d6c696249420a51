"""Templates of numbers, quantities, dates and formulas.

What a template computes is left out, unless its arguments alone decide it: nothing here may depend
on the day on which a corpus is built.
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
    subscript,
    superscript,
)
from data_prep.wikitext_finish import APART, strip_quotes

_RANGE_WORDS: Final = {
    word: f" {word} " for word in ("to", "and", "or", "by", "x", "+", "*", "\u00b1", "+/-")
} | {"-": "\u2013", "\u2013": "\u2013", "to(-)": " to ", "and(-)": " and "}
_NUMBER: Final = re.compile(r"[+\u2212-]?[0-9][0-9.,/+]*")
_CHARGE: Final = re.compile("[0-9]*[+\u2212-]")
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
    "ft2": "sq ft",
    "ft3": "cu ft",
    "oilbbl": "bbl",
    "oilbbl/d": "bbl/d",
    "LT": "long tons",
    "ST": "short tons",
    "MT": "t",
    "carat": "carats",
}
_MULTIPLES: Final = {"e3": "thousand", "e6": "million", "e9": "billion", "e12": "trillion"} | {
    "k": "thousand",
    "M": "million",
    "G": "billion",
    "T": "trillion",
}
_MULTIPLE: Final = re.compile("(e(?:3|6|9|12)(?=[a-zA-Z])|[kMGT](?=oilbbl|cuft))(.+)")
_ELEMENTS: Final = {"hydrogen": "H", "carbon": "C", "nitrogen": "N", "oxygen": "O"}
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def group_digits(number: str) -> str:
    """Write a number with a comma every three digits before its point, as MediaWiki shows it."""
    whole, point, fraction = number.partition(".")
    if not (whole.isdecimal() and len(whole) < 30 and (fraction.isdecimal() or not point)):
        return number
    return f"{int(whole):,}{point}{fraction}"


def _unit(code: str) -> str:
    code = code.removesuffix("-change")
    multiple = ""
    if found := _MULTIPLE.fullmatch(code):
        multiple, code = f"{_MULTIPLES[found[1]]} ", found[2]
    return multiple + _UNITS.get(code, code)


def _convert(arguments: Arguments) -> str:
    """Render the quantity as it is given; the computed conversion adds nothing to it."""
    amount, *rest = [*positional(arguments), ""]
    amount = group_digits(amount)
    while len(rest) >= 2 and rest[0] in _RANGE_WORDS and _NUMBER.fullmatch(rest[1]):
        amount += _RANGE_WORDS[rest[0]] + group_digits(rest[1])
        rest = rest[2:]
    words = [amount, _unit(rest[0])] if rest else [amount]
    if len(rest) >= 3 and _NUMBER.fullmatch(rest[1]) and rest[2] and not _NUMBER.fullmatch(rest[2]):
        words += [rest[1], _unit(rest[2])]  # 5 ft 6 in
    return " ".join(filter(None, words))


def _fraction(arguments: Arguments) -> str:
    values = positional(arguments)
    if len(values) == 1:
        return f"{APART}1/{values[0]}"
    return APART + " ".join([*values[:-2], "/".join(values[-2:])])


def _power(exponent: str) -> str:
    return f"\u00d710{superscript(exponent)}" if exponent else ""


def _value(arguments: Arguments) -> str:
    text = "\u00b1".join(map(group_digits, positional(arguments)[:2]))
    unit = arguments.get("u") or arguments.get("ul") or ""
    return f"{text}{_power(arguments.get('e', ''))} {unit}".strip()


def _measure(arguments: Arguments) -> str:
    """Render Italian's {{M|1,9|19|anni}} and {{M|2|c|m}}: exponent or prefix, then the unit."""
    number, scale, unit = [*positional(arguments), "", "", ""][:3]
    if _NUMBER.fullmatch(scale):
        return f"{number}{_power(scale)} {unit}".strip()
    return f"{number} {scale.strip('-')}{unit}".strip()


def _density(arguments: Arguments) -> str:
    population, area, unit = [*positional(arguments), "", "", ""][:3]
    try:
        density = float(population.replace(",", "")) / float(area.replace(",", ""))
        number = f"{density:,.{min(9, int(arguments.get('prec') or 0))}f}"
    except (ValueError, ZeroDivisionError):
        return ""
    return f"{number}/{_unit(unit)}"


def _gauge(arguments: Arguments) -> str:
    text = first(arguments)
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    return f"{group_digits(number)} {text.removeprefix(number).strip()}".strip()


def _height(arguments: Arguments) -> str:
    units = ("m", "cm", "ft", "in")
    return " ".join(f"{arguments[unit]} {unit}" for unit in units if arguments.get(unit))


def _coordinates(arguments: Arguments) -> str:
    """Render {{coord|52|31|N|13|24|E}}, unless it is shown beside the page's title alone."""
    if arguments.get("display", "inline").strip().casefold() in ("title", "t"):
        return ""
    text = ""
    signs = iter("\u00b0\u2032\u2033")
    for value in positional(arguments)[:8]:
        if _NUMBER.fullmatch(value):
            text += value + next(signs, "")
        elif value in ("N", "S"):
            text += f"{value} "
            signs = iter("\u00b0\u2032\u2033")
        else:
            return text + value if value in ("E", "W") else ""
    return ""


def _dental_formula(arguments: Arguments) -> str:
    return "/".join(filter(None, (arguments.get("upper"), arguments.get("lower"))))


def _chemistry(arguments: Arguments) -> str:
    return "".join(
        superscript(value) if _CHARGE.fullmatch(value) else subscript(value)
        for value in map(strip_quotes, positional(arguments))
    )


def _as_of(arguments: Arguments) -> str:
    if alternative := arguments.get("alt"):
        return alternative
    word = "Since" if arguments.get("since") else "As of"
    lower = arguments.get("lc") or arguments.get("lowercase")
    return f"{word.lower() if lower else word} {_day_month_year(positional(arguments))}".strip()


def _date(arguments: Arguments) -> str:
    return _day_month_year(positional(arguments)[:3])


def _old_style_date(arguments: Arguments) -> str:
    day, year, old = [*positional(arguments), "", "", ""][:3]
    return " ".join(filter(None, (day, f"[O.S. {old}]" if old else "", year)))


def _day_month_year(values: list[str]) -> str:
    """Write (year, month, day), of which the later may be missing, as "5 May 1980"."""
    if len(values) >= 2 and values[1].isdecimal() and 1 <= int(values[1]) <= len(_MONTHS):
        values = [values[0], _MONTHS[int(values[1]) - 1], *values[2:]]
    return " ".join(value for value in reversed(values[:3]) if value)


def _circa(arguments: Arguments) -> str:
    return " \u2013 ".join(f"c. {value}" for value in positional(arguments) if value)


def _years(before: str) -> Renderer:
    return joined("\u2013", before=before)


QUANTITIES: Final = name_renderers(
    ("convert|cvt|conv", _convert),
    ("frac|sfrac|fraction", _fraction),
    ("val", _value),
    ("m", _measure),
    ("nts|number table sorting|format price", lambda given: group_digits(first(given))),
    ("pop density|population density", _density),
    ("railgauge|track gauge|rail gauge", _gauge),
    ("height", _height),
    ("coord", _coordinates),
    ("chem|chem2", _chemistry),
    ("dentalformula", _dental_formula),
    ("nuclide|nuclide2|simple nuclide|simple nuclide2|simplenuclide|simplenuclide2", joined("-")),
    *((name, constant(symbol)) for name, symbol in _ELEMENTS.items()),
    ("e", lambda given: _power(first(given))),
    ("us$|usd", around("US$")),
    ("a$|aud", around("A$")),
    ("cad", around("CA$")),
    ("gbp|\u00a3|pound sterling", around("\u00a3")),
    ("eur|\u20ac|euro", around("\u20ac")),
    ("inr|indian rupee", around("\u20b9")),
    ("jpy|\u00a5|cny", around("\u00a5")),
    ("as of", _as_of),
    (
        "birth date|birth date and age|birth-date|birth-date and age|death date|death date and age"
        "|start date|end date|start date and age|end date and age|date|dts|film date|release date",
        _date,
    ),
    ("birth year and age|death year and age", lambda given: given.get("1", "")),
    ("oldstyledate|old style date", _old_style_date),
    ("oldstyledatedy", last),
    ("circa|c.|ca.|circa2", _circa),
    ("floruit|fl.", _years("fl. ")),
    ("reign|r.", _years("r. ")),
    ("born|b.", _years("b. ")),
    ("died|d.", _years("d. ")),
    ("m s.l.m.", constant("m s.l.m.")),
)
