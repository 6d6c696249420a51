"""Every error a user can meet, each with the exit code of the command that meets it.

A message names the place (dotted field, file and line, or document), the value, the rule it breaks
and the remedy. Programmer errors are assertions, not these.
"""


class NullsError(Exception):
    """Base of all errors caused by input, configuration, files or policy.

    Attributes:
        exit_code: process exit status of a command that ends with this error.
    """

    exit_code = 1


class ConfigError(NullsError):
    """A command line, preset, override or DeepSpeed file breaks a rule."""

    exit_code = 2


class InputError(NullsError):
    """Input that the user brought (dump, tokenizer, sources.txt, corpus) cannot be used."""

    exit_code = 3


class UnknownSourceError(NullsError):
    """A named source is not in the corpus, or names more than one."""

    exit_code = 4


class IntegrityError(NullsError):
    """A file is missing, truncated or differs from its recorded checksum."""

    exit_code = 5


class RefusedError(NullsError):
    """A budget or policy forbids what was asked (collateral, tombstones)."""

    exit_code = 6


class LockedError(NullsError):
    """Another process works on the same output."""

    exit_code = 7


class TemporaryError(NullsError):
    """The job was stopped and can continue: requeue it."""

    exit_code = 75
