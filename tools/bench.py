"""Measure the project against a named peer and write the figures down."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from nulls_dist.cli import CommandParser, Option, positive_int, run_command


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One benchmark: a module with `bench_STEM`, which measures, and `format_STEM`, for people.

    A module that has `check_STEM` lets it refuse the result, once that is written and shown.
    """

    name: str
    module: str
    help: str
    options: tuple[Option, ...] = ()
    stem: str = ""
    """The name, where empty."""


def _number(flag: str, default: int, parameter: str = "", note: str = "") -> Option:
    return Option(
        flag=flag,
        parameter=parameter or flag.removeprefix("--"),
        settings={"type": positive_int, "default": default, "help": f"{note}default {default}"},
    )


def _work(default: str, note: str) -> Option:
    settings = {"type": Path, "default": Path(default), "help": f"{note} (default: {default})"}
    return Option(flag="--work", parameter="work", settings=settings)


_PRESET: Final = Option(
    flag="--preset",
    parameter="preset",
    settings={"default": "nulls_1b", "help": "default nulls_1b"},
)
_INPUT: Final = Option(
    flag="--input",
    parameter="dump",
    settings={"type": Path, "required": True, "help": "a MediaWiki XML dump"},
)
_BENCHMARKS: Final = (
    Benchmark(
        name="sinks",
        module="nulls_dist.benchmark.sinks_report",
        help="speed of one MLP of the 1B model, against dense-and-mask (minutes)",
        options=(_number("--tokens", 2048, "num_tokens"), _number("--repeats", 5)),
    ),
    Benchmark(
        name="deletion",
        module="nulls_dist.benchmark.deletion",
        help="what is left after deletion, against retraining (5 minutes per seed)",
        options=(
            _number("--seeds", 3, "num_seeds", "at least 2; "),
            _work("bench-work", "directory for corpora and models; finished seeds stay"),
        ),
    ),
    Benchmark(
        name="large",
        module="nulls_dist.benchmark.large",
        help="the tools on a full-size checkpoint, and a few steps of nulls_125m",
        options=(_PRESET, _work("bench-large", "new directory; 16 GB per 1B")),
    ),
    Benchmark(
        name="strip",
        module="nulls_dist.benchmark.strip",
        help="time of a deletion on a full-size checkpoint, against plain tools (minutes)",
        options=(
            _PRESET,
            _number("--rounds", 3),
            _work("bench-strip", "new directory; 5 GB per 1B"),
        ),
    ),
    Benchmark(
        name="train",
        module="nulls_dist.benchmark.training",
        stem="training",
        help="speed of training, against three other models (a quarter of an hour)",
        options=(
            _PRESET,
            _number("--layers", 2, "num_layers"),
            _number("--tokens", 8192, "num_tokens", "per step; "),
            Option(
                flag="--micro-batch-rows",
                parameter="micro_batch_rows",
                settings={
                    "type": positive_int,
                    "help": "rows per forward pass; default: the preset's",
                },
            ),
            _number("--vocabulary", 256, "vocab_size", "small, so that the head takes no time; "),
            _number("--rounds", 3),
            _work("bench-work", "directory for the corpus"),
        ),
    ),
    Benchmark(
        name="head",
        module="nulls_dist.benchmark.head",
        help="the loss by chunks, against whole logits (minutes)",
        options=(_PRESET, _number("--tokens", 4096, "num_tokens"), _number("--rounds", 3)),
    ),
    Benchmark(
        name="loader",
        module="nulls_dist.benchmark.loader",
        help="tokens per second from disk to microbatches",
        options=(
            _PRESET,
            _number("--megabytes", 100),
            _work("bench-work", "directory for the corpus"),
        ),
    ),
    Benchmark(
        name="corpus",
        module="nulls_dist.benchmark.corpus",
        help="reading documents, against Megatron .bin, datasets and Parquet (minutes)",
        options=(
            _number("--megabytes", 200, note="of random tokens; "),
            Option(
                flag="--data",
                parameter="data",
                settings={"type": Path, "metavar": "CORPUS", "help": "instead of random tokens"},
            ),
            _number("--rounds", 5),
            _work("bench-work", "directory for the files"),
        ),
    ),
    Benchmark(
        name="cleaner",
        module="data_prep.benchmark.cleaner",
        help="the cleaner of wiki markup against three others: quality and speed",
        options=(
            _INPUT,
            Option(
                flag="--pages",
                parameter="num_pages",
                settings={"type": positive_int, "help": "first articles only; default: all"},
            ),
            _number("--rounds", 3),
        ),
    ),
    Benchmark(
        name="prep",
        module="data_prep.benchmark.report",
        help="a Wikipedia build: against its parts, by two processes, on larger dumps",
        options=(
            _INPUT,
            _number("--megabytes", 200, note="XML of the largest dump, made of --input's pages; "),
            _work("bench-work", "directory for dumps and corpora"),
        ),
    ),
    Benchmark(
        name="resolve",
        module="nulls_dist.benchmark.resolve",
        help="names of a long request against a large table of sources (minutes)",
        options=(
            _number("--sources", 6_400_000, "num_sources"),
            _number("--lines", 1_000_000, "num_lines"),
            _work("bench-work", "directory for the files"),
        ),
    ),
    Benchmark(
        name="prompts",
        module="nulls_dist.benchmark.prompts",
        help="the index from texts to sources: recall, time, size (minutes)",
        options=(
            _number("--titles", 1_000_000, "num_titles"),
            _number("--queries", 100, "num_queries", "of each kind; "),
            _work("bench-work", "directory for the files"),
        ),
    ),
    Benchmark(
        name="parity",
        module="nulls_dist.benchmark.parity",
        help="every combination of topology, ZeRO and precision against one process",
        options=(_work("bench-topologies", "new directory for the runs"),),
    ),
    Benchmark(
        name="resume",
        module="nulls_dist.benchmark.elastic",
        stem="elastic",
        help="a checkpoint of every topology continued on every other",
        options=(_work("bench-topologies", "new directory for the runs"),),
    ),
    Benchmark(
        name="chaos",
        module="nulls_dist.benchmark.chaos.report",
        help="a run through kills, preemptions and switches, against one left alone (an hour)",
        options=(
            _number("--steps", 2000),
            _number("--faults", 24, "num_faults", "in each of two runs; "),
            Option(
                flag="--seed",
                parameter="seed",
                settings={"type": int, "default": 0, "help": "of the faults; default 0"},
            ),
            _work("bench-chaos", "new directory for the runs"),
        ),
    ),
    Benchmark(
        name="memory",
        module="nulls_dist.benchmark.memory",
        help="the memory model against tensors held in a run on one process (a minute)",
    ),
    Benchmark(
        name="faults",
        module="nulls_dist.benchmark.faults.report",
        help="faults put into training, and what became of it; fails if a promise broke (an hour)",
        options=(
            Option(
                flag="--share",
                parameter="share",
                settings={"type": float, "default": 1.0, "help": "of the tries, such as .05"},
            ),
            Option(
                flag="--families",
                parameter="families",
                settings={
                    "nargs": "+",
                    "default": (),
                    "metavar": "NAME",
                    "help": "kills, publication, disk, damage, stops, refusals, hostile "
                    "(default: all)",
                },
            ),
            _work("bench-faults", "new directory for a corpus and the runs"),
        ),
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="bench.py",
        summary="Measure the project against a named peer in the same run.",
        examples=(
            "OMP_NUM_THREADS=1 python tools/bench.py sinks",
            "python tools/bench.py sinks --tokens 1024 --json",
            "python tools/bench.py train --preset nulls_1b --layers 2 --tokens 8192",
            "python tools/bench.py deletion --work bench-work --out benchmarks/deletion.json",
            "python tools/bench.py cleaner --input enwiki-pages-articles.xml.bz2 --pages 100",
        ),
    )
    names = parser.add_subparsers(
        dest="name", required=True, metavar="NAME", parser_class=argparse.ArgumentParser
    )
    for benchmark in _BENCHMARKS:
        options = names.add_parser(benchmark.name, help=benchmark.help, description=benchmark.help)
        for option in benchmark.options:
            options.add_argument(option.flag, dest=option.parameter, **option.settings)
        options.add_argument("--json", action="store_true", help="figures as JSON on stdout")
        options.add_argument("--out", type=Path, help="also write them to this JSON file")
        options.set_defaults(benchmark=benchmark)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist import durable
    from nulls_dist.benchmark.provenance import describe_measurement

    benchmark: Benchmark = args.benchmark
    module = import_module(benchmark.module)
    stem = benchmark.stem or benchmark.name
    wanted = {option.parameter: getattr(args, option.parameter) for option in benchmark.options}
    found: dict[str, Any] = getattr(module, f"bench_{stem}")(**wanted)
    result = {**found, "measured_on": describe_measurement()}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(args.out, result)
    text: str = getattr(module, f"format_{stem}")(result)
    print(json.dumps(result, indent=2) if args.json else text)
    if check := getattr(module, f"check_{stem}", None):
        check(result)


if __name__ == "__main__":
    sys.exit(run_command(main))
