"""Lists of sources: made by hand, and drawn; the outcome of every line is known beforehand."""

import codecs
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nulls_dist.benchmark.faults.hostile.answers import answer_all
from nulls_dist.benchmark.faults.hostile.case import Case, snapshot
from nulls_dist.benchmark.faults.hostile.ground import CHECKPOINT, REQUEST, Ground, put
from nulls_dist.benchmark.faults.outcome import Fault
from nulls_dist.errors import InputError, UnknownSourceError
from nulls_dist.source_list import MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_LINES

_SEED: Final = 0
_AT_ONCE: Final = 250
_MOST_LINES: Final = 8
_SHARES: Final = {"name": 0.6, "unknown": 0.2, "comment": 0.08, "blank": 0.07, "broken": 0.05}
"""Kind of a drawn line -> share of all."""
_SPACES: Final = ("", " ", "\t", "\u00a0")
_BREAKING: Final = (b"\0", b"\xff", b"\rx", b"\xed\xa0\x80")
"""NUL, no UTF-8, a carriage return inside, a surrogate."""

_BAD: Final = InputError.exit_code
_UNKNOWN: Final = UnknownSourceError.exit_code


def list_cases(ground: Ground) -> Iterator[Case]:
    """Yield every list made by hand with a deletion that is only planned."""
    for what, (content, code, says) in _by_hand(ground).items():
        folder = ground.folder(ground.checkpoint)
        path = folder / REQUEST
        if callable(content):
            content(path)
        else:
            put(path, content)
        yield Case(
            what=f"{REQUEST}: {what}",
            folder=folder,
            command=_plan(folder / CHECKPOINT, path),
            codes=(code,),
            says=(*([REQUEST] if code == _BAD else []), says),
        )


def _plan(checkpoint: Path, request: Path) -> tuple[str, ...]:
    options = ("--max-collateral", "1", "--dry-run", "--json")
    return ("strip_sources", str(checkpoint), str(request), *options)


def _by_hand(
    ground: Ground,
) -> dict[str, tuple[bytes | Callable[[Path], object], int, str]]:
    """Return contents, exit codes and what is said."""
    title, other = ground.table.titles_of(ground.named)
    (source_id, _) = ground.named
    a = title.encode()

    def sparse(path: Path) -> None:
        path.unlink()
        with path.open("wb") as file:
            file.truncate(MAX_FILE_BYTES + 1)

    def piped(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    one, two = '"matched": 1', '"matched": 2'
    return {
        # Accepted: what editors and other systems make of a good list.
        "plain": (a + b"\n", 0, one),
        "no line end": (a, 0, one),
        "a byte order mark": (codecs.BOM_UTF8 + a + b"\n", 0, one),
        "Windows line ends": (a + b"\r\n" + other.encode() + b"\r\n", 0, two),
        "comments and blank lines": (b"# x\n\n   \n" + a + b"\n", 0, one),
        "white space of Unicode around": ("\u00a0\u2003".encode() + a + b"\t\n", 0, one),
        "an id": (f"id:{source_id}\n".encode(), 0, one),
        "a title by its means": (b"title: " + a + b"\n", 0, one),
        "underscores for spaces": (a.replace(b" ", b"_") + b"\n", 0, one),
        "a line twice": (a + b"\n" + a + b"\n", 0, '"duplicate": 1'),
        # No source is named so (but for the zero-width space, which is ignored): all or nothing.
        "an unknown title": (a + b"\nNobody Nowhere\n", _UNKNOWN, "line 2"),
        "an unknown id": (b"id:5\n", _UNKNOWN, "line 1"),
        "an id beyond 64 bits": (b"id:" + b"9" * 30 + b"\n", _UNKNOWN, "line 1"),
        "an id below 0": (b"id:-1\n", _UNKNOWN, "line 1"),
        "an id in other digits": ("id:\u0661\u0662\n".encode(), _UNKNOWN, "line 1"),
        "a separator of lines in a title": (f"{title}\u2028x\n".encode(), _UNKNOWN, "line 1"),
        "a zero-width space in a title": (
            f"{title[:3]}\u200b{title[3:]}\n".encode(),
            0,
            one,
        ),
        "an empty name": (b"title:\n", _UNKNOWN, "line 1"),
        "a format string": (b"%s%n{0.__class__}\n", _UNKNOWN, "line 1"),
        # No list of sources.
        "empty": (b"", _BAD, "names no source"),
        "comments alone": (b"# x\n\n", _BAD, "names no source"),
        "UTF-16": ((title + "\n").encode("utf-16"), _BAD, "UTF-16"),
        "a NUL": (a + b"\nB\0C\n", _BAD, "line 2: a NUL"),
        "a bare carriage return": (a + b"\nB\rC\n", _BAD, "line 2: a carriage return"),
        "no UTF-8": (a + b"\nab\xc3\x28\n", _BAD, "line 2, byte 3: not UTF-8"),
        "a line of 64 KiB": (a + b"\n" + b"x" * (MAX_LINE_BYTES + 1), _BAD, "line 2: longer"),
        "more bytes than a list has": (sparse, _BAD, f"more than {MAX_FILE_BYTES}"),
        "more lines than a list has": (b"\n" * (MAX_LINES + 1), _BAD, f"more than {MAX_LINES}"),
        "a pipe": (piped, _BAD, "not a regular file"),
        "a folder": (folder, _BAD, "not a regular file"),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnList:
    """A list drawn at random, and what must become of it."""

    content: bytes
    code: int
    num_lines: Mapping[str, int]
    """Outcome -> lines; empty where the list is refused."""


def draw_list(names: Mapping[int, list[str]], draws: np.random.Generator) -> DrawnList:
    """Draw a list.

    Args:
        names: source id -> lines that name it alone.
        draws: of chance.
    """
    kinds = draws.choice(list(_SHARES), int(draws.integers(_MOST_LINES + 1)), p=[*_SHARES.values()])
    source_ids = draws.choice(np.array(list(names), np.uint64), len(kinds)).tolist()
    lines = [
        _draw_line(kind, names[source_id], draws)
        for kind, source_id in zip(kinds, source_ids, strict=True)
    ]
    end = (b"\n", b"\r\n")[int(draws.integers(2))]
    content = codecs.BOM_UTF8 * int(draws.integers(2)) + end.join(lines)
    named = [number for kind, number in zip(kinds, source_ids, strict=True) if kind == "name"]
    num_unknown = int(np.sum(kinds == "unknown"))
    if "broken" in kinds or not len(named) + num_unknown:
        return DrawnList(content=content, code=_BAD, num_lines={})
    num_lines = {
        "matched": len(set(named)),
        "unknown": num_unknown,
        "ambiguous": 0,
        "duplicate": len(named) - len(set(named)),
    }
    return DrawnList(content=content, code=_UNKNOWN if num_unknown else 0, num_lines=num_lines)


def _draw_line(kind: str, names: list[str], draws: np.random.Generator) -> bytes:
    """Return a line of a kind of `_SHARES`, white space around it."""
    texts = {
        "name": names[int(draws.integers(len(names)))],
        "unknown": f"no source {_noise(draws)}",
        "comment": f"#{_noise(draws)}",
        "blank": "",
        "broken": "broken",
    }
    before, after = (_SPACES[place] for place in draws.integers(len(_SPACES), size=2))
    line = f"{before}{texts[kind]}{after}".encode()
    if kind == "broken":
        return line[:1] + _BREAKING[int(draws.integers(len(_BREAKING)))] + line[1:]
    return line


def _noise(draws: np.random.Generator) -> str:
    """Return text of all planes of Unicode without what a list refuses or what ends a line."""
    points = [int(draws.integers(0x20, 0x110000)) for _ in range(int(draws.integers(1, 9)))]
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000) + "."


def judge_drawn(ground: Ground, fault: Fault, count: int) -> None:
    """Give drawn lists to a deletion that is only planned; compare the outcome of every line."""
    draws = np.random.default_rng(_SEED)
    titles = ground.table.titles_of(ground.table.source_ids.tolist())
    names = {
        source_id: [title, f"title:{title}", f"id:{source_id}"]
        for source_id, title in zip(ground.table.source_ids.tolist(), titles, strict=True)
    }
    folder = ground.folder(ground.checkpoint)
    for begin in range(0, count, _AT_ONCE):
        drawn = [draw_list(names, draws) for _ in range(min(_AT_ONCE, count - begin))]
        paths = [folder / f"{number}.txt" for number in range(len(drawn))]
        for path, each in zip(paths, drawn, strict=True):
            put(path, each.content)
        before = snapshot(folder)
        answers = answer_all([_plan(folder / CHECKPOINT, path) for path in paths], ground.scratch)
        changed = ["changed its inputs"] if snapshot(folder) != before else []
        for number, (each, answer) in enumerate(zip(drawn, answers, strict=True), begin):
            problems = changed + _differences(each, answer.code, answer.said)
            fault.record(problems, place=f"list {number}: {each.content!r}")
            fault.measure("MiB taken at most", answer.grown_mib)


def _differences(drawn: DrawnList, code: int | None, said: str) -> list[str]:
    problems = [] if code == drawn.code else [f"exit code {code}, not {drawn.code}: {said[-300:]}"]
    if not problems and drawn.num_lines and _count_lines(said) != drawn.num_lines:
        problems.append(f"{_count_lines(said)}, not {drawn.num_lines}")
    if "Traceback" in said:
        problems.append("a traceback")
    return problems


def _count_lines(said: str) -> Any:
    """Return what the plan, the first JSON object of the output, says of its lines."""
    plan, _ = json.JSONDecoder().raw_decode(said, said.index("{\n"))
    return plan["num_lines"]
