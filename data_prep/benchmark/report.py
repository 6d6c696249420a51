"""Speed and growth of a Wikipedia build: against its parts, by two processes, on larger dumps."""

import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tqdm import tqdm

from data_prep.benchmark.builds import BuildCost, find_mpirun, measure_build
from data_prep.benchmark.parts import measure_parts
from data_prep.benchmark.repeated_dump import PageSource, read_pages, write_repeated_dump
from nulls_dist.benchmark.own_process import run_alone
from nulls_dist.data.duplicates import Policy

TARGET_EFFICIENCY: Final = 0.75
TARGET_SPEEDUP: Final = 1.6
TARGET_PEAK_MIB: Final = 1024
PARTS: Final = ("bz2", "xml", "cleaning", "tokenising")

_ROUNDS: Final = 3
_SPEED_MB: Final = 84
"""About 1,400 articles of the excerpt that the published figures are made with; with fewer, the
second that mpirun takes to start would show."""
_ONE_PROCESS: Final = "1 process"
_WITHOUT_SEARCH: Final = "1 process, no search for near-duplicates"
_SHARES: Final = (4, 2, 1)
_TOKENIZER: Final = "train:bpe:8000"


def bench_prep(dump: Path, work: Path, *, megabytes: int) -> dict[str, Any]:
    """Measure builds of dumps made of the pages of a small one.

    Args:
        dump: MediaWiki XML of a few megabytes, bz2 or plain.
        work: directory for dumps and corpora, which are removed again: about as many bytes as the
            largest dump has XML.
        megabytes: XML of the largest dump.

    Returns:
        "speed": CPU seconds of the parts and of whole builds by one process; their ratio, the
        "efficiency", once without the search for near-duplicates and once with it, its signing
        counted among the parts; "wall_s" by who works and the "speedup" over one process.
        "growth": a row per size. The targets.

    Raises:
        InputError: `dump` cannot be repeated.
        NullsError: a build failed.
    """
    source = read_pages(dump)
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        speed_dump = _write_dump(source, folder, _SPEED_MB)
        tokenizer = _train_tokenizer(speed_dump, folder / "first")
        return {
            "targets": {
                "efficiency": TARGET_EFFICIENCY,
                "speedup": TARGET_SPEEDUP,
                "peak_mib": TARGET_PEAK_MIB,
            },
            "speed": _measure_speed(source, folder, speed_dump, tokenizer),
            "growth": _measure_growth(source, folder, megabytes, tokenizer),
        }


def _train_tokenizer(dump: Path, out: Path) -> Path:
    """Return the tokenizer of a first build, which the others are given."""
    measure_build(dump, out, tokenizer=_TOKENIZER, workers=2)
    return out / str(_read_manifest(out)["tokenizer"]["file"])


def _read_manifest(corpus: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((corpus / "manifest.json").read_text(encoding="utf-8"))
    return content


def _measure_speed(source: PageSource, folder: Path, dump: Path, tokenizer: Path) -> dict[str, Any]:
    build = partial(measure_build, dump, tokenizer=str(tokenizer))
    ways: dict[str, Callable[[Path], BuildCost]] = {
        _WITHOUT_SEARCH: partial(build, duplicates=Policy.OFF),
        _ONE_PROCESS: build,
        "2 workers": partial(build, workers=2),
    }
    if mpirun := find_mpirun():
        ways["2 MPI ranks"] = partial(build, launcher=(mpirun, "-n", "2"))
    parts: list[dict[str, float]] = []
    costs: dict[str, list[BuildCost]] = {name: [] for name in ways}
    for index in tqdm(range(_ROUNDS), desc="rounds", disable=None):
        # In a process of its own: this one's memory would count in what it starts.
        parts.append(run_alone(measure_parts, dump, tokenizer))
        for name, way in ways.items():
            costs[name].append(way(folder / f"{name} {index}"))
    cpu_s = {name: statistics.median(each[name] for each in parts) for name in parts[0]}
    whole = [cost.cpu_s for cost in costs[_ONE_PROCESS]]
    without = [cost.cpu_s for cost in costs[_WITHOUT_SEARCH]]
    manifest = _read_manifest(folder / f"{_ONE_PROCESS} 0")
    walls = {name: [cost.wall_s for cost in found] for name, found in costs.items()}
    return {
        "documents": manifest["num_documents"],
        "xml_bytes": _num_copies(source, _SPEED_MB) * source.num_bytes,
        "text_bytes": manifest["build"]["text_bytes"],
        "rounds": _ROUNDS,
        "parts_cpu_s": {name: cpu_s[name] for name in PARTS},
        "limits_cpu_s": cpu_s["limits"],
        "signing_cpu_s": cpu_s["signing"],
        "whole_cpu_s": statistics.median(whole),
        "whole_without_search_cpu_s": statistics.median(without),
        "efficiency": _efficiency(parts, PARTS, without),
        "efficiency_with_search": _efficiency(parts, (*PARTS, "signing"), whole),
        "wall_s": {name: statistics.median(found) for name, found in walls.items()},
        "speedup": {
            name: statistics.median(
                one / two for one, two in zip(walls[_ONE_PROCESS], found, strict=True)
            )
            for name, found in walls.items()
        },
    }


def _efficiency(
    parts: Sequence[dict[str, float]], names: Sequence[str], whole: Sequence[float]
) -> float:
    """Return the median over rounds of what the parts take, over what a build takes."""
    return statistics.median(
        sum(each[name] for name in names) / total for each, total in zip(parts, whole, strict=True)
    )


def _measure_growth(
    source: PageSource, folder: Path, megabytes: int, tokenizer: Path
) -> list[dict[str, Any]]:
    rows = []
    for share in tqdm(_SHARES, desc="sizes", disable=None):
        size = megabytes / share
        dump = _write_dump(source, folder, size)
        # Training takes memory by the text, up to a bound; it is shown apart, for the largest.
        choices = {"given": str(tokenizer)} | ({"trained": _TOKENIZER} if share == 1 else {})
        for kind, choice in choices.items():
            out = folder / f"corpus {share} {kind}"
            cost = measure_build(dump, out, tokenizer=choice, workers=2)
            manifest = _read_manifest(out)
            xml_bytes = _num_copies(source, size) * source.num_bytes
            rows.append(
                {
                    "tokenizer": kind,
                    "xml_bytes": xml_bytes,
                    "dump_bytes": dump.stat().st_size,
                    "documents": manifest["num_documents"],
                    "tokens": manifest["num_tokens"],
                    **cost.to_dict(),
                    "wall_s_per_gb": cost.wall_s / xml_bytes * 1e9,
                    "cpu_s_per_gb": cost.cpu_s / xml_bytes * 1e9,
                }
            )
    return rows


def _num_copies(source: PageSource, megabytes: float) -> int:
    return max(1, round(megabytes * 1e6 / source.num_bytes))


def _write_dump(source: PageSource, folder: Path, megabytes: float) -> Path:
    path = folder / "repeated-multistream.xml.bz2"
    write_repeated_dump(source, path, _num_copies(source, megabytes))
    return path


def format_prep(result: dict[str, Any]) -> str:
    """Return the figures as tables for a terminal."""
    speed, targets = result["speed"], result["targets"]
    lines = [
        f"{speed['documents']} articles, {speed['xml_bytes'] / 1e6:.0f} MB of XML, CPU seconds:",
        *(f"  {name:<12}{seconds:>8.2f}" for name, seconds in speed["parts_cpu_s"].items()),
        f"  {'whole build':<12}{speed['whole_without_search_cpu_s']:>8.2f}   without the search "
        f"for near-duplicates: parts / whole {speed['efficiency']:.2f} (target "
        f"{targets['efficiency']})",
        f"  {'signing':<12}{speed['signing_cpu_s']:>8.2f}",
        f"  {'whole build':<12}{speed['whole_cpu_s']:>8.2f}   parts and signing / whole "
        f"{speed['efficiency_with_search']:.2f}",
        "",
        f"{'':<42}{'seconds':>8}{'speed':>8}   (target with 2 processes {targets['speedup']}x)",
    ]
    lines += [
        f"{name:<42}{seconds:>8.1f}{speed['speedup'][name]:>7.2f}x"
        for name, seconds in speed["wall_s"].items()
    ]
    names = ("XML MB", "articles", "tokenizer", "seconds", "s/GB", "CPU s/GB", "peak MiB")
    lines += ["", "".join(f"{name:>10}" for name in names)]
    lines += [
        f"{row['xml_bytes'] / 1e6:>10.0f}{row['documents']:>10}{row['tokenizer']:>10}"
        f"{row['wall_s']:>10.1f}{row['wall_s_per_gb']:>10.0f}{row['cpu_s_per_gb']:>10.0f}"
        f"{row['peak_mib']:>10.0f}"
        for row in result["growth"]
    ]
    return "\n".join(lines)
