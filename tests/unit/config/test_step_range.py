"""START:STOP on a command line."""

import pytest

from nulls_dist.config.step_range import parse_step_range
from nulls_dist.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"), [("0:1", range(1)), ("2:4", range(2, 4)), ("0:8", range(8))]
)
def test_a_range_inside_the_run_is_read(text, expected):
    assert parse_step_range(text, option="--profile", steps=8) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, f"--profile ({text!r}) must be START:STOP, for example 10:12")
            for text in ("", "3", ":", "1:", ":2", "-1:2", "1:2:3", "a:b", "1 :2", "1:2\n")
        ),
        *(
            (text, f"--profile ({text}) must have START below STOP and STOP at most train.steps")
            for text in ("2:2", "3:2", "0:9", "8:9")
        ),
    ],
)
def test_any_other_range_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_step_range(text, option="--profile", steps=8)
    assert str(caught.value).startswith(message)
