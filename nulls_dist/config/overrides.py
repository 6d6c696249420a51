"""`--set a.b=c`: typed changes to a preset, with the nearest name for a misspelt one."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from nulls_dist.config.schema import RunConfig
from nulls_dist.errors import ConfigError

_LARGEST: Final = (1 << 63) - 1
"""What counts and sizes are computed with."""


def apply_overrides(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """Return the configuration with every assignment applied at once.

    Rules across fields are checked after the last one, so that two fields can change together.

    Args:
        config: the preset.
        assignments: texts of the form "section.field=value".

    Raises:
        ConfigError: an assignment is malformed, names no field or has the wrong type, or the
            result breaks a rule.
    """
    changes: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, dot, name = path.strip().partition(".")
        if not (equals and dot):
            raise ConfigError(f"--set {assignment}: must have the form section.field=value")
        sections = [
            entry.name for entry in fields(config) if is_dataclass(getattr(config, entry.name))
        ]
        check_known(section, sections, f"--set {assignment}: section")
        hints = get_type_hints(type(getattr(config, section)))
        check_known(name, list(hints), f"--set {assignment}: field of {section}")
        changes.setdefault(section, {})[name] = parse_value(text.strip(), hints[name], path.strip())
    sections_changed = {
        section: replace(getattr(config, section), **values) for section, values in changes.items()
    }
    return replace(config, **sections_changed)


def check_known(name: str, known: Sequence[str], what: str) -> None:
    """Refuse a name that is not among the known ones.

    Args:
        name: as the user wrote it.
        known: all there are.
        what: what it names, for the message.

    Raises:
        ConfigError: it is not; the message has the nearest name.
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{what} {name!r} is unknown; {hint}available: {', '.join(known)}")


def parse_value(text: str, hint: Any, path: str) -> Any:
    """Return what a text says as a value of a type.

    Args:
        text: as the user wrote it.
        hint: bool, int, float, str or a Literal of texts.
        path: of the field, for the message.

    Raises:
        ConfigError: it is no such value, or not finite.
    """
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ConfigError(f"{path} ({text!r}) must be one of {', '.join(get_args(hint))}")
        return text
    if hint is bool:
        if text not in ("true", "false"):
            raise ConfigError(f"{path} ({text!r}) must be true or false")
        return text == "true"
    try:
        value = hint(text)
    except ValueError:
        name = {int: "a whole number", float: "a number"}.get(hint, hint.__name__)
        raise ConfigError(f"{path} ({text!r}) must be {name}") from None
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ConfigError(f"{path} ({text!r}) must be a whole number of at most {_LARGEST}")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise ConfigError(f"{path} ({text!r}) must be a finite number")
    return value
