"""What all command lines share: help with examples, logging on stderr, exit codes."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nulls_dist import __version__
from nulls_dist.errors import InputError, NullsError, TemporaryError

logger = logging.getLogger(__name__)

_EXIT_CODES = (
    "exit codes: 0 ok, 1 bug, 2 usage, 3 bad input, 4 unknown sources, 5 integrity,\n"
    "  6 refused by a budget or policy, 7 locked, 75 stopped early (run again to continue),\n"
    "  130 interrupted"
)


class CommandParser(argparse.ArgumentParser):
    """Argument parser whose help ends with examples and the exit codes."""

    def __init__(self, *, prog: str, summary: str, examples: Sequence[str]) -> None:
        lines = "\n".join(f"  {line}" for line in examples)
        super().__init__(
            prog=prog,
            description=summary,
            epilog=f"examples:\n{lines}\n\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"nulls-dist {__version__}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of a command that a table describes."""

    flag: str
    parameter: str
    """Of the function that does the command."""
    settings: dict[str, Any]
    """For `add_argument`."""


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the log of this project to stderr; machine output has stdout for itself."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for name in ("nulls_dist", "data_prep", "tools"):
        logging.getLogger(name).setLevel(level)


def run_command(command: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command and turn its errors into the promised exit codes.

    Args:
        command: takes the arguments after the program's name; returns when it succeeded.
        argv: those arguments; the process's own by default.

    Returns:
        The exit code. Errors of the user are one line on stderr; a bug shows its traceback.
    """
    log_to_stderr()
    try:
        command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # a reader that went away is noticed here, not at exit
    except TemporaryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except NullsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        _discard_stdout()
        return 0
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"error: out of memory: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error}; check the path, its permissions and the free space", file=sys.stderr
        )
        return InputError.exit_code
    except Exception:
        logger.exception("this is a bug in nulls-dist")
        return 1
    return 0


def _discard_stdout() -> None:
    """Let the interpreter flush what nobody reads without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def positive_int(text: str) -> int:
    """Parse a command-line integer of at least 1.

    Raises:
        ArgumentTypeError: it is not one; the parser adds the option's name.
    """
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 1")
    return int(text)
