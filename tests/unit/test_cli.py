"""The frame of every command line: exit codes, one line per user error, a traceback per bug."""

import argparse
import os
import subprocess
import sys

import pytest

from nulls_dist import __version__, errors
from nulls_dist.cli import CommandParser, positive_int, run_command

PROMISED_EXIT_CODES = {
    "NullsError": 1,
    "ConfigError": 2,
    "InputError": 3,
    "UnknownSourceError": 4,
    "IntegrityError": 5,
    "RefusedError": 6,
    "LockedError": 7,
    "TemporaryError": 75,
}


def raising(error):
    def command(argv):
        raise error

    return command


def test_every_error_class_has_a_promised_exit_code():
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.NullsError)
    }
    assert found == PROMISED_EXIT_CODES


@pytest.mark.parametrize("name", PROMISED_EXIT_CODES)
def test_an_error_of_the_user_is_one_line_and_its_exit_code(name, capsys):
    error = getattr(errors, name)("corpus/manifest.json: wrong; build again")
    assert run_command(raising(error), []) == PROMISED_EXIT_CODES[name]
    captured = capsys.readouterr()
    prefix = "" if name == "TemporaryError" else "error: "  # to stop when asked is no error
    assert captured.err == f"{prefix}corpus/manifest.json: wrong; build again\n"
    assert captured.out == ""


def test_success_is_0_and_the_arguments_arrive(capsys, monkeypatch):
    seen = []
    assert run_command(seen.append, ["a", "--b"]) == 0
    monkeypatch.setattr(sys, "argv", ["program", "c"])
    assert run_command(seen.append) == 0
    assert seen == [["a", "--b"], ["c"]]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("oops"), AssertionError("oops")])
def test_a_bug_is_1_and_shows_its_traceback(error, caplog):
    assert run_command(raising(error), []) == 1
    assert "this is a bug in nulls-dist" in caplog.text
    assert "Traceback" in caplog.text
    assert "oops" in caplog.text


def test_a_full_disk_or_a_missing_permission_is_no_bug(capsys, caplog):
    error = OSError(28, "No space left on device", "/data/out")
    assert run_command(raising(error), []) == 3
    said = capsys.readouterr().err
    assert "No space left on device: '/data/out'" in said
    assert "free space" in said
    assert caplog.text == ""


def test_lack_of_memory_and_an_interrupt_are_no_bugs(capsys, caplog):
    assert run_command(raising(MemoryError("4 GB")), []) == 1
    assert run_command(raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "error: out of memory: 4 GB\nerror: interrupted\n"
    assert caplog.text == ""


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_goes_away_ends_a_command_quietly(lines):
    code = (
        "import sys, time\n"
        "from nulls_dist.cli import run_command\n"
        "def command(argv):\n"
        "    sys.stdin.readline()\n"
        f"    for _ in range({lines}): print('line')\n"
        "sys.exit(run_command(command, []))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def parse(*argv):
    parser = CommandParser(prog="program", summary="Do it.", examples=("program --count 2",))
    parser.add_argument("--count", type=positive_int)
    return parser.parse_args(argv).count


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("007", 7), ("4096", 4096)])
def test_positive_numbers_are_parsed(text, number):
    assert positive_int(text) == number
    assert parse("--count", text) == number


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "1.0", "1e3", " 1", "1_000", "", "\u00b2", "\u0663"]
)
def test_other_numbers_are_usage_errors_that_name_the_option(text, capsys):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number of at least 1"):
        positive_int(text)
    with pytest.raises(SystemExit) as caught:
        parse(f"--count={text}")
    assert caught.value.code == 2
    assert f"argument --count: {text!r} must be a whole number" in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--coun", "1")
    assert caught.value.code == 2
    assert "--coun" in capsys.readouterr().err


def test_help_shows_examples_and_exit_codes_and_the_version_is_ours(capsys):
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            parse(option)
        assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "program --count 2" in shown
    assert all(f" {code} " in shown for code in sorted(set(PROMISED_EXIT_CODES.values())))
    assert shown.endswith(f"nulls-dist {__version__}\n")
