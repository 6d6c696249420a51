"""Settings of a method from texts "field=value", typed by the fields of its dataclass."""

from collections.abc import Sequence
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from nulls_dist.config.overrides import check_known, parse_value
from nulls_dist.errors import ConfigError

_PLAIN: Final = (bool, int, float, str)


def parse_settings(method: type, assignments: Sequence[str]) -> dict[str, Any]:
    """Return field -> value.

    Lists are written with commas, None as "none".

    Args:
        method: a dataclass.
        assignments: texts "field=value".

    Raises:
        ConfigError: one is malformed, names no field, or has the wrong type.
    """
    hints = get_type_hints(method)
    names = [name for name in method.__dataclass_fields__ if name in hints]  # type: ignore[attr-defined]
    values = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ConfigError(f"--set {assignment}: must have the form field=value")
        check_known(name, names, f"--set {assignment}: field")
        values[name] = _parse(text, hints[name], name)
    return values


def _parse(text: str, hint: Any, name: str) -> Any:
    if get_origin(hint) is UnionType and NoneType in get_args(hint):
        if text == "none":
            return None
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is tuple and get_args(hint)[0] in _PLAIN:
        return tuple(_parse(part.strip(), get_args(hint)[0], name) for part in text.split(","))
    if hint in _PLAIN:
        return parse_value(text, hint, name)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        check_known(text, list(hint), name)
        return hint(text)
    raise ConfigError(f"{name} is no number, text or list of these; it can be set in Python only")
