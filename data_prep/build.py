"""Build a corpus: python -m data_prep.build --input DUMP --format wikipedia --out CORPUS ..."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.durable import check_absent
from nulls_dist.errors import ConfigError

if TYPE_CHECKING:
    from data_prep.pipeline import BuildResult
    from data_prep.readers import Reader

logger = logging.getLogger("data_prep.build")

_GENERATED: Final = "generated"
_CLEANERS: Final = ("nulls", "hf")
_EXAMPLES: Final = (
    "python -m data_prep.build --input generated --format generated --out encyclopedia \\",
    "    --tokenizer train:bpe:8000 --articles 300",
    "python -m data_prep.build --input enwiki-pages-articles.xml.bz2 --format wikipedia \\",
    "    --out enwiki --tokenizer train:bpe:48000 --workers 16",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = CommandParser(
        prog="python -m data_prep.build",
        summary="Build a corpus whose sources can be unlearned.",
        examples=_EXAMPLES,
    )
    add = parser.add_argument
    number = positive_int
    add("--input", required=True, help="file to read, or 'generated'")
    add("--format", required=True, choices=("wikipedia", _GENERATED))
    add("--out", required=True, type=Path, help="corpus directory to create")
    add("--tokenizer", required=True, metavar="FILE|train:bpe:N", help="N is an upper bound")
    add("--eos-token", help="end-of-document token of a given tokenizer (default: the usual ones)")
    add("--partitions", type=number, default=16, help="partition files; divides 4096 (default 16)")
    add("--workers", type=number, default=_num_cpus(), help="processes (default: usable CPUs)")
    add("--limit", type=number, metavar="DOCUMENTS", help="stop after this many documents")
    add("--exclude", type=Path, metavar="SOURCES.txt", help="leave these sources out")
    add("--name", help="corpus name, part of every source id (default: the input's own)")
    add("--router-seed", type=int, default=0, help="seed of the corpus's router (default 0)")
    add("--cleaner", choices=_CLEANERS, default="nulls", help="from wiki markup to text")
    group = parser.add_argument_group("--format generated")
    group.add_argument("--articles", type=number, default=300, help="sources (default 300)")
    group.add_argument("--renderings", type=number, default=8, help="documents each (default 8)")
    group.add_argument("--seed", type=int, default=0, help="of what is invented (default 0)")
    return parser


def main(argv: Sequence[str]) -> None:
    """Build a corpus from command-line arguments."""
    args = build_parser().parse_args(argv)
    check_absent(args.out)
    # Imported late, so that --help and usage errors are immediate.
    from data_prep.pipeline import BuildOptions, build_corpus

    options = BuildOptions(
        tokenizer=args.tokenizer,
        eos_token=args.eos_token,
        num_partitions=args.partitions,
        router_seed=args.router_seed,
        limit=args.limit,
        exclude=args.exclude,
        num_workers=args.workers,
    )
    begin = time.monotonic()
    result = build_corpus(_open_reader(args), options, args.out)
    _log_summary(result, time.monotonic() - begin)


def _open_reader(args: argparse.Namespace) -> "Reader":
    from data_prep.generated.encyclopedia import EncyclopediaSpec
    from data_prep.readers import open_generated, open_wikipedia

    if (args.format == _GENERATED) != (args.input == _GENERATED):
        raise ConfigError(
            f"--input {args.input} with --format {args.format}: the generated encyclopedia is "
            "--input generated --format generated"
        )
    if args.format == _GENERATED:
        spec = EncyclopediaSpec(articles=args.articles, renderings=args.renderings, seed=args.seed)
        return open_generated(spec, name=args.name)
    return open_wikipedia(Path(args.input), name=args.name, cleaner=args.cleaner)


def _log_summary(result: "BuildResult", seconds: float) -> None:
    manifest, found, aliases = result.manifest, result.found, result.aliases
    logger.info(
        "%d sources, %d documents, %d tokens (vocabulary %d), %.1f MB of text",
        manifest.num_sources,
        manifest.num_documents,
        manifest.num_tokens,
        manifest.tokenizer.vocab_size,
        found.num_text_bytes / 1e6,
    )
    logger.info(
        "aliases: %d resolved, %d cyclic, %d without a target in the corpus",
        aliases.num_resolved,
        aliases.num_cyclic,
        aliases.num_without_target,
    )
    for reason, count in sorted(found.skipped.items()):
        logger.info("skipped: %d, %s", count, reason)
    for reason, count in sorted(found.quarantined.items()):
        logger.info("quarantined: %d, %s", count, reason)
    rate = found.num_text_bytes / 1e6 / seconds
    logger.info("%.1f s, %.2f MB of text per second", seconds, rate)


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(run_command(main))
