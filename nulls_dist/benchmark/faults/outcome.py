"""What became of the tries of one fault."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Fault:
    """One row of the table: a fault, how often it was tried, and what went wrong."""

    fault: str
    promise: str
    """What holds in every try that passed."""
    tries: int = 0
    failures: list[str] = field(default_factory=list)
    """One line per try that broke the promise."""
    measured: dict[str, float] = field(default_factory=dict)
    """Other figures: name with unit -> value."""
    skipped: str = ""
    """Why nothing was tried, where nothing was."""

    @property
    def passed(self) -> int:
        """Number of tries that kept the promise."""
        return self.tries - len(self.failures)

    def record(self, problems: Sequence[str], *, place: str) -> None:
        """Count a try.

        Args:
            problems: what went wrong; none where the promise was kept.
            place: which try it was.
        """
        self.tries += 1
        if problems:
            self.failures.append(f"{place}: {'; '.join(problems)}")

    def measure(self, name: str, value: float) -> None:
        """Keep the largest value of a figure."""
        self.measured[name] = round(max(value, self.measured.get(name, value)), 2)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.measured[name] = self.measured.get(name, 0) + number


def scaled(count: int, share: float) -> int:
    """Return a share of a number of tries, at least one."""
    return max(1, round(count * share))
