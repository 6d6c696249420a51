"""Measure the project against a named peer and write the figures down."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nulls_dist.cli import CommandParser, positive_int, run_command

_MAX_SEEDS = 8


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
        ),
    )
    names = parser.add_subparsers(
        dest="name", required=True, metavar="NAME", parser_class=argparse.ArgumentParser
    )
    sinks = names.add_parser(
        "sinks", help="speed of one MLP of the 1B model, against dense-and-mask (minutes)"
    )
    sinks.add_argument("--tokens", type=positive_int, default=2048, help="default 2048")
    sinks.add_argument("--repeats", type=positive_int, default=5, help="default 5")
    deletion = names.add_parser(
        "deletion", help="what is left after deletion, against retraining (5 minutes per seed)"
    )
    deletion.add_argument(
        "--seeds", type=int, choices=range(2, _MAX_SEEDS + 1), default=3, help="how many (3)"
    )
    deletion.add_argument(
        "--work",
        type=Path,
        default=Path("bench-work"),
        help="directory for corpora and models; finished seeds are not repeated",
    )
    large = names.add_parser(
        "large", help="the tools on a full-size checkpoint, and a few steps of nulls_125m"
    )
    large.add_argument("--preset", default="nulls_1b", help="default nulls_1b")
    large.add_argument(
        "--work", type=Path, default=Path("bench-large"), help="new directory; 16 GB per 1B"
    )
    speed = _add_speed(names)
    parity = names.add_parser(
        "parity", help="every combination of topology, ZeRO and precision against one process"
    )
    resume = names.add_parser(
        "resume", help="a checkpoint of every topology continued on every other"
    )
    for each in (parity, resume):
        each.add_argument(
            "--work", type=Path, default=Path("bench-topologies"), help="new directory for the runs"
        )
    memory = names.add_parser(
        "memory", help="the memory model against tensors held in a run on one process (a minute)"
    )
    prep = names.add_parser(
        "prep", help="a Wikipedia build: against its parts, by two processes, on larger dumps"
    )
    prep.add_argument(
        "--input", type=Path, required=True, help="dump of a few MB whose pages are repeated"
    )
    prep.add_argument(
        "--megabytes", type=positive_int, default=200, help="XML of the largest dump; default 200"
    )
    prep.add_argument(
        "--work", type=Path, default=Path("bench-work"), help="directory for dumps and corpora"
    )
    for each in (sinks, deletion, large, parity, resume, memory, prep, *speed):
        each.add_argument("--json", action="store_true", help="figures as JSON on stdout")
        each.add_argument("--out", type=Path, help="also write them to this JSON file")
    return parser


def _add_speed(names: Any) -> tuple[argparse.ArgumentParser, ...]:
    """Add the benchmarks of training speed."""
    train = names.add_parser(
        "train", help="speed of training, against three other models (a quarter of an hour)"
    )
    train.add_argument("--preset", default="nulls_1b", help="default nulls_1b")
    train.add_argument("--layers", type=positive_int, default=2, help="default 2")
    train.add_argument("--tokens", type=positive_int, default=8192, help="per step; default 8192")
    train.add_argument(
        "--micro-batch-rows", type=positive_int, help="rows per forward pass; default: the preset's"
    )
    train.add_argument(
        "--vocabulary",
        type=positive_int,
        default=256,
        help="default 256, so that the head takes next to no time",
    )
    train.add_argument("--rounds", type=positive_int, default=3, help="default 3")
    head = names.add_parser("head", help="the loss by chunks, against whole logits (minutes)")
    head.add_argument("--preset", default="nulls_1b", help="default nulls_1b")
    head.add_argument("--tokens", type=positive_int, default=4096, help="default 4096")
    head.add_argument("--rounds", type=positive_int, default=3, help="default 3")
    loader = names.add_parser("loader", help="tokens per second from disk to microbatches")
    loader.add_argument("--preset", default="nulls_1b", help="default nulls_1b")
    loader.add_argument("--megabytes", type=positive_int, default=100, help="default 100")
    for each in (train, loader):
        each.add_argument(
            "--work", type=Path, default=Path("bench-work"), help="directory for the corpus"
        )
    return train, head, loader


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist import durable

    result, text = _measure(args)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(args.out, result)
    print(json.dumps(result, indent=2) if args.json else text)


def _measure(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if args.name == "sinks":
        from nulls_dist.benchmark.sinks_report import bench_sinks, format_sinks

        result = bench_sinks(num_tokens=args.tokens, repeats=args.repeats)
        return result, format_sinks(result)
    if args.name == "large":
        from nulls_dist.benchmark.large import bench_large, format_large

        result = bench_large(args.work, args.preset)
        return result, format_large(result)
    if args.name == "parity":
        from nulls_dist.benchmark.parity import bench_parity, format_parity

        result = bench_parity(args.work)
        return result, format_parity(result)
    if args.name == "resume":
        from nulls_dist.benchmark.elastic import bench_elastic, format_elastic

        result = bench_elastic(args.work)
        return result, format_elastic(result)
    if args.name == "memory":
        from nulls_dist.benchmark.memory import bench_memory, format_memory

        result = bench_memory()
        return result, format_memory(result)
    if args.name == "prep":
        from data_prep.benchmark.report import bench_prep, format_prep

        result = bench_prep(args.input, args.work, megabytes=args.megabytes)
        return result | _describe(), format_prep(result)
    if args.name in ("train", "head", "loader"):
        return _measure_speed(args)
    from nulls_dist.benchmark.deletion import bench_deletion, format_deletion

    result = bench_deletion(args.work, range(args.seeds))
    return result, format_deletion(result)


def _describe() -> dict[str, Any]:
    from nulls_dist.benchmark.provenance import describe_measurement

    return {"measured_on": describe_measurement()}


def _measure_speed(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if args.name == "loader":
        from nulls_dist.benchmark.loader import bench_loader, format_loader

        result = bench_loader(args.work, preset=args.preset, megabytes=args.megabytes)
        return result, format_loader(result)
    if args.name == "head":
        from nulls_dist.benchmark.head import bench_head, format_head

        result = bench_head(args.preset, num_tokens=args.tokens, rounds=args.rounds)
        return result, format_head(result)
    from nulls_dist.benchmark.training import TrainingCase, bench_training, format_training

    case = TrainingCase(
        preset=args.preset,
        num_layers=args.layers,
        num_tokens=args.tokens,
        micro_batch_rows=args.micro_batch_rows,
        vocab_size=args.vocabulary,
    )
    result = bench_training(case, args.work, rounds=args.rounds)
    return result, format_training(result)


if __name__ == "__main__":
    sys.exit(run_command(main))
