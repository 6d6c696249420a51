"""What the letter says that asks for a deletion, beside the sources: for the report."""

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from nulls_dist.errors import ConfigError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestRecord:
    """The paperwork of a request; all of it may be unknown."""

    request_id: str = ""
    received: date | None = None
    basis: str = ""
    """Legal basis or policy, in the user's words."""
    recipients: tuple[str, ...] = ()
    """Who got the model or the text and must be told (GDPR, Art. 19)."""

    def __post_init__(self) -> None:
        """Check the id, which becomes part of a path.

        Raises:
            ConfigError: it has other characters than letters, digits, dots, dashes, underscores.
        """
        if self.request_id and not _ID.fullmatch(self.request_id):
            raise ConfigError(
                f"--request-id {self.request_id!r} must be 1 to 80 letters, digits, dots, dashes "
                "and underscores, the first a letter or digit"
            )

    @property
    def due(self) -> date | None:
        """The day by which the person must be told: a month after receipt (GDPR, Art. 12(3))."""
        return None if self.received is None else _month_later(self.received)


def _month_later(day: date) -> date:
    year, month = day.year + day.month // 12, day.month % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
