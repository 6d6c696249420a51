"""Reading a corpus: random documents and all of them in order, against three other formats.

Everything read is summed, so that every token is touched and every format must give the same.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from nulls_dist.benchmark.corpus_memory import memory_of_reading
from nulls_dist.benchmark.corpus_readers import READERS, Reader
from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.quiet import quiet_libraries

_OURS: Final = "nulls-dist"
_PEER: Final = "Megatron .bin"
_BYTES_PER_TOKEN: Final = 2
_VOCAB_SIZE: Final = 49_152
_IN_ORDER: Final = 20_000
"""Documents of a pass in order, one at a time."""

Work = Callable[[], int]


def bench_corpus(
    work: Path, *, megabytes: int, data: Path | None = None, rounds: int = 5
) -> dict[str, Any]:
    """Write the documents in every format and read them in turns, from the page cache.

    Args:
        work: directory for what is written, which is removed again.
        megabytes: size of a corpus of random tokens.
        data: a corpus to take instead.
        rounds: of all formats in turns; medians are reported.

    Returns:
        "documents", "tokens"; "formats": for each its "bytes", "open_ms", rates by the clock and by
        CPU time, and the memory of a process that reads it; "against_megatron": our rates over
        Megatron's, and the bytes.

    Raises:
        ConfigError: the package datasets is not installed.
        InputError: `data` is not a corpus.
    """
    if find_spec("datasets") is None:
        raise ConfigError("bench corpus needs datasets: pip install 'nulls-dist[hf]'")
    work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        folder = Path(stack.enter_context(TemporaryDirectory(dir=work)))
        corpus = Corpus(data) if data else _random_corpus(folder / "corpus", megabytes)
        roots = _write_all(corpus, folder)
        timed = _read_in_turns(corpus, roots, rounds)
        formats = {
            name: {
                "bytes": sum(path.stat().st_size for path in root.glob(READERS[name].files)),
                "random_reads": READERS[name].num_random_reads,
                **timed[name],
                **memory_of_reading(name, root),
            }
            for name, root in roots.items()
        }
    return {
        "corpus": corpus.manifest.corpus,
        "documents": corpus.num_documents,
        "tokens": corpus.manifest.num_tokens,
        "token_type": corpus.manifest.token_type,
        "page_cache": "warm",
        "rounds": rounds,
        "formats": formats,
        "against_megatron": _compare(formats[_OURS], formats[_PEER]),
        "datasets": version("datasets"),
    }


def _random_corpus(root: Path, megabytes: int) -> Corpus:
    num_tokens = megabytes * 10**6 // _BYTES_PER_TOKEN
    return write_random_corpus(root, num_tokens=num_tokens, vocab_size=_VOCAB_SIZE)


def _write_all(corpus: Corpus, folder: Path) -> dict[str, Path]:
    """Return the directory of each format."""
    roots = {}
    for number, (name, reader) in enumerate(READERS.items()):
        target = folder / f"format-{number}"
        target.mkdir()
        roots[name] = reader.write(corpus, target)
    return roots


def _read_in_turns(
    corpus: Corpus, roots: dict[str, Path], rounds: int
) -> dict[str, dict[str, float]]:
    """Return the medians of what each format took; a first round warms up and is not counted."""
    documents = np.random.default_rng(0).integers(
        0, corpus.num_documents, max(reader.num_random_reads for reader in READERS.values())
    )
    seconds: dict[str, list[dict[str, float]]] = defaultdict(list)
    sums: dict[tuple[str, int], int] = {}
    for index in tqdm(range(rounds + 1), desc="rounds", disable=None):
        for name, root in roots.items():
            reads = documents[: READERS[name].num_random_reads].tolist()
            measured, found = _read(READERS[name], root, reads, corpus.num_documents)
            for part, total in found.items():
                expected = sums.setdefault((part, len(reads)), total)
                assert total == expected, f"{name} reads other tokens: {part}"
            if index:
                seconds[name].append(measured)
    num_in_order = int(corpus.lengths[:_IN_ORDER].sum())
    return {
        name: _rates(taken, READERS[name].num_random_reads, num_in_order, int(corpus.lengths.sum()))
        for name, taken in seconds.items()
    }


def _read(
    reader: type[Reader], root: Path, random_documents: list[int], num_documents: int
) -> tuple[dict[str, float], dict[str, int]]:
    """Open and read; return seconds of each part by wall and CPU clock, and the sums of tokens."""
    seconds: dict[str, float] = {}
    sums: dict[str, int] = {}

    def time_part(part: str, read: Work) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        sums[part] = read()
        seconds[f"{part}_cpu"] = time.process_time() - cpu
        seconds[part] = time.perf_counter() - wall

    started = time.perf_counter()
    opened = reader(root)
    seconds["open"] = time.perf_counter() - started
    in_order = range(min(num_documents, _IN_ORDER))
    time_part("random", lambda: sum(int(opened.tokens(at).sum()) for at in random_documents))
    time_part("in_order", lambda: sum(int(opened.tokens(at).sum()) for at in in_order))
    time_part("blocks", lambda: sum(int(block.sum()) for block in opened.blocks()))
    return seconds, sums


def _rates(
    taken: list[dict[str, float]], num_reads: int, num_in_order: int, num_tokens: int
) -> dict[str, float]:
    median = {part: statistics.median(each[part] for each in taken) for part in taken[0]}
    rates = {"open_ms": median["open"] * 1e3}
    for clock, suffix in (("s", ""), ("cpu_s", "_cpu")):
        rates |= {
            f"random_documents_per_{clock}": num_reads / median[f"random{suffix}"],
            f"in_order_tokens_per_{clock}": num_in_order / median[f"in_order{suffix}"],
            f"blocks_tokens_per_{clock}": num_tokens / median[f"blocks{suffix}"],
        }
    return rates


def _compare(ours: dict[str, float], peer: dict[str, float]) -> dict[str, float]:
    """Return our figures over the peer's."""
    names = ["bytes", *(name for name in ours if name.endswith("_s"))]
    return {name: ours[name] / peer[name] for name in names}


def format_corpus(result: dict[str, Any]) -> str:
    """Return the figures as a table for a terminal."""
    tokens = result["tokens"]
    lines = [
        f"{tokens / 1e6:.0f} M tokens in {result['documents']} documents, warm page cache",
        f"{'':<22}{'bytes/token':>12}{'open ms':>9}{'random/s':>10}{'in order':>10}{'blocks':>8}"
        f"{'private':>9}",
        f"{'':<53}{'M tokens/s':>10}{'M/s':>8}{'MiB':>9}",
    ]
    lines += [
        f"{name:<22}{row['bytes'] / tokens:>12.3f}{row['open_ms']:>9.1f}"
        f"{row['random_documents_per_s']:>10,.0f}{row['in_order_tokens_per_s'] / 1e6:>10.0f}"
        f"{row['blocks_tokens_per_s'] / 1e6:>8.0f}{row['private_mib']:>9.1f}"
        for name, row in result["formats"].items()
    ]
    ratio = result["against_megatron"]
    lines.append(
        f"against {_PEER}: random {ratio['random_documents_per_s']:.2f}x, in order "
        f"{ratio['in_order_tokens_per_s']:.2f}x, blocks {ratio['blocks_tokens_per_s']:.2f}x, "
        f"bytes {ratio['bytes']:.3f}x"
    )
    return "\n".join(lines)
