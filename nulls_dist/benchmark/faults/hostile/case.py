"""A hostile file in its place, and what is promised of the command that reads it."""

import hashlib
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.faults.hostile.answers import Answer, Command, answer_all
from nulls_dist.benchmark.faults.outcome import Fault

CANARY: Final = "canary"
"""Name of what appears in a case's folder when code of a file ran."""
_MOST_MIB: Final = 512.0
"""Far above what the smallest models need, far below what a header may ask for."""
_LONGEST_LINE: Final = 4000
_AT_ONCE: Final = 16
_SHOWN: Final = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A hostile file, put where a command reads it."""

    what: str
    folder: Path
    """Everything that the command reads or may write, and where a canary would appear."""
    command: Command
    codes: tuple[int, ...]
    """Exit codes of which one is promised."""
    says: tuple[str, ...] = ()
    """What the message must contain."""
    leaves: tuple[str, ...] = ()
    """What may be in the folder afterwards that was not there."""

    def problems(self, answer: Answer, before: "Snapshot") -> list[str]:
        """Say what of the promise was broken.

        Args:
            answer: of the command.
            before: the folder before it.
        """
        problems = []
        if answer.code not in self.codes:
            problems.append(f"exit code {answer.code}, not {self.codes}")
        problems += [f"does not say {text!r}" for text in self.says if text not in answer.said]
        if "Traceback" in answer.said:
            problems.append("a traceback")
        if answer.grown_mib > _MOST_MIB:
            problems.append(f"took {answer.grown_mib:g} MiB")
        if (self.folder / CANARY).exists():
            problems.append("EXECUTED")
        longest = max(map(len, answer.said.splitlines()), default=0)
        if longest > _LONGEST_LINE:
            problems.append(f"a line of {longest} characters")
        if changed := sorted(_changes(before, snapshot(self.folder)) - set(self.leaves)):
            problems.append(f"changed {changed[:5]}")
        return [*problems, f"it said: {_shorten(answer.said)}"] if problems else []


Snapshot = dict[str, str]
"""Path below a folder -> what is there: a checksum, or the kind of what is no file."""


def snapshot(folder: Path) -> Snapshot:
    """Look at everything below a folder, without opening what is no regular file."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) else ""
        found[path.relative_to(folder).as_posix()] = f"{stat.S_IFMT(mode)} {content}"
    return found


def _changes(before: Snapshot, after: Snapshot) -> set[str]:
    return {path for path, _ in before.items() ^ after.items()}


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}"


def judge(cases: Iterable[Case], fault: Fault, scratch: Path) -> None:
    """Run the commands of cases and count which kept the promise.

    Args:
        cases: each makes its folder when it is asked for; it is removed afterwards.
        fault: counts the tries.
        scratch: folder for what the commands say.
    """
    rest = iter(cases)
    while some := list(islice(rest, _AT_ONCE)):
        before = [snapshot(case.folder) for case in some]
        answers = answer_all([case.command for case in some], scratch)
        for case, answer, then in zip(some, answers, before, strict=True):
            fault.record(case.problems(answer, then), place=case.what)
            fault.measure("MiB taken at most", answer.grown_mib)
            shutil.rmtree(case.folder)


def sampled(cases: Iterable[Case], share: float) -> Iterator[Case]:
    """Yield a share of cases, spread evenly over all, the first among them."""
    for number, case in enumerate(cases):
        if int(number * share) != int((number - 1) * share) or number == 0:
            yield case
        else:
            shutil.rmtree(case.folder)
