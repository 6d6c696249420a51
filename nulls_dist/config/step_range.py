"""A range of steps on a command line."""

import re

from nulls_dist.errors import ConfigError


def parse_step_range(text: str, *, option: str, steps: int) -> range:
    """Parse START:STOP, the steps after START up to STOP as metrics number them: 2:4 is 3 and 4.

    Args:
        text: from the command line.
        option: its name, for messages.
        steps: length of the run.

    Returns:
        The same steps counted from 0: range(START, STOP).

    Raises:
        ConfigError: it is malformed, empty or outside the run.
    """
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if found is None:
        raise ConfigError(f"{option} ({text!r}) must be START:STOP, for example 10:12")
    start, stop = int(found[1]), int(found[2])
    if not start < stop <= steps:
        raise ConfigError(
            f"{option} ({text}) must have START below STOP and STOP at most train.steps ({steps})"
        )
    return range(start, stop)
