"""What the renderers of templates are made of."""

import re
from collections.abc import Callable, Mapping
from typing import Final

Arguments = Mapping[str, str]
"""Rendered arguments by name; positional ones are "1", "2", ..."""
Renderer = Callable[[Arguments], str]

_SUPERSCRIPTS: Final = str.maketrans(
    "0123456789+-=()n\u2212",
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207c\u207d\u207e\u207f"
    "\u207b",
)
_SUBSCRIPTS: Final = str.maketrans(
    "0123456789+-=()aehijklmnoprstuvx\u2212",
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b\u208c\u208d\u208e"
    "\u2090\u2091\u2095\u1d62\u2c7c\u2096\u2097\u2098\u2099\u2092\u209a\u1d63\u209b\u209c\u1d64\u1d65\u2093"
    "\u208b",
)
_RAISABLE: Final = re.compile("[0-9+=()n\u2212-]+")
_LOWERABLE: Final = re.compile("(?:[0-9+=()n\u2212-]|(?<![a-z])[aehijklmoprstuvx](?![a-z]))+")
_STATE: Final = re.compile(r"([0-9]*)(\([a-z]+\))")
_EXPONENT: Final = re.compile("(?=.*[0-9+\u2212])[a-z0-9.,/+\u2212-]+", re.I)


def superscript(text: str) -> str:
    """Write an exponent or a charge with small digits, or as "^1.5" or "^(a+b)"; words stay."""
    if _RAISABLE.fullmatch(text):
        return text.translate(_SUPERSCRIPTS)
    if _EXPONENT.fullmatch(text):
        return f"^{text}" if text.replace(".", "").isdecimal() else f"^({text})"
    return text


def subscript(text: str) -> str:
    """Write an index of digits, signs and single letters; words stay, and states like "(aq)"."""
    if state := _STATE.fullmatch(text):
        return state[1].translate(_SUBSCRIPTS) + state[2]
    return text.translate(_SUBSCRIPTS) if _LOWERABLE.fullmatch(text) else text


def positional(arguments: Arguments) -> list[str]:
    """Return the arguments "1", "2", ... up to the first that is missing."""
    values: list[str] = []
    while (name := str(len(values) + 1)) in arguments:
        values.append(arguments[name])
    return values


def first(arguments: Arguments) -> str:
    """Render the text that a template is about."""
    for name in ("1", "text", "quote", "content"):
        if value := arguments.get(name):
            return value
    return ""


def second(arguments: Arguments) -> str:
    """Render the second argument."""
    return arguments.get("2", "")


def last(arguments: Arguments) -> str:
    """Render the last positional argument."""
    values = positional(arguments)
    return values[-1] if values else ""


def constant(text: str) -> Renderer:
    """Return a renderer that ignores its arguments."""
    return lambda _: text


def around(before: str, after: str = "") -> Renderer:
    """Return a renderer that writes something before and after the text."""
    return lambda arguments: f"{before}{value}{after}" if (value := first(arguments)) else ""


def joined(separator: str, before: str = "") -> Renderer:
    """Return a renderer that joins the positional arguments."""

    def render(arguments: Arguments) -> str:
        values = [value for value in positional(arguments) if value]
        return before + separator.join(values) if values else ""

    return render


def name_renderers(*groups: tuple[str, Renderer]) -> dict[str, Renderer]:
    """Return renderers by name, given names in lower case separated by bars."""
    return {name: renderer for names, renderer in groups for name in names.split("|")}
