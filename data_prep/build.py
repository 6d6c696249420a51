"""Build a corpus: python -m data_prep.build --input DUMP --format wikipedia --out CORPUS ..."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data_prep.crew import end_ranks, join_crew
from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.durable import check_absent
from nulls_dist.errors import ConfigError

if TYPE_CHECKING:
    from data_prep.readers import Reader
    from nulls_dist.data.format import CorpusManifest

logger = logging.getLogger("data_prep.build")

_GENERATED: Final = "generated"
_FORMATS: Final = ("wikipedia", "jsonl", "parquet", "text", _GENERATED)
_ROW_FORMATS: Final = ("jsonl", "parquet")
_CLEANERS: Final = ("nulls", "hf")
POLICIES: Final = ("off", "report", "group", "drop")
_EXAMPLES: Final = (
    "python -m data_prep.build --input generated --format generated --out encyclopedia \\",
    "    --tokenizer train:bpe:8000 --articles 300",
    "python -m data_prep.build --input enwiki-pages-articles-multistream.xml.bz2 \\",
    "    --format wikipedia --out enwiki --tokenizer train:bpe:48000 --workers 16",
    "mpirun -n 64 python -m data_prep.build --input enwiki-pages-articles-multistream.xml.bz2 \\",
    "    --format wikipedia --out enwiki --tokenizer tokenizer.json --partitions 256",
    "python -m data_prep.build --input 'wikipedia/20231101.en/*.parquet' --format parquet \\",
    "    --name enwiki --out enwiki --tokenizer tokenizer.json",
    "python -m data_prep.build --input news/ --format jsonl --source-key publisher \\",
    "    --text-field body --name news --out news-corpus --tokenizer tokenizer.json",
    "python -m data_prep.build --input books/ --format text --name books --out books-corpus \\",
    "    --tokenizer tokenizer.json",
    "python -m data_prep.build --input enwiki.xml.bz2 --format wikipedia --out enwiki-2 \\",
    "    --tokenizer enwiki/tokenizer/spm.model --exclude-deleted stripped",
    "python -m data_prep.build --input pages.jsonl --format jsonl --name pages --out pages \\",
    "    --tokenizer tokenizer.json --duplicates group --duplicate-threshold 0.9",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = CommandParser(
        prog="python -m data_prep.build",
        summary=(
            "Build a corpus whose sources can be unlearned. A build that was killed continues when "
            "the same command is run again."
        ),
        examples=_EXAMPLES,
    )
    add = parser.add_argument
    number = positive_int
    add("--input", required=True, help="file, folder or pattern to read, or 'generated'")
    add("--format", required=True, choices=_FORMATS)
    add("--out", required=True, type=Path, help="corpus directory to create")
    add("--tokenizer", required=True, metavar="FILE|train:bpe:N", help="N is an upper bound")
    add("--eos-token", help="end-of-document token of a given tokenizer (default: the usual ones)")
    add("--partitions", type=number, default=16, help="partition files; divides 4096 (default 16)")
    add("--workers", type=number, help="processes (default: usable CPUs; under MPI, its ranks)")
    add("--limit", type=number, metavar="DOCUMENTS", help="stop after this many documents")
    add("--exclude", type=Path, metavar="SOURCES.txt", help="leave these sources out")
    add(
        "--exclude-deleted",
        type=Path,
        metavar="CHECKPOINT",
        help="leave out what was deleted from it: sources by id, title or redirect, and their "
        "texts wherever else they occur",
    )
    add("--name", help="corpus name, part of every source id (default: the input's own)")
    add("--router-seed", type=int, default=0, help="seed of the corpus's router (default 0)")
    group = parser.add_argument_group("near-duplicates across sources")
    add = group.add_argument
    add(
        "--duplicates",
        choices=POLICIES,
        default="report",
        help="report: list them in duplicates.parquet (default); group: sources that share a text "
        "become one, that with the lowest key; drop: of texts that are alike only the first stays; "
        "off: look for none. The names of a source that is gone lead to the one with its text.",
    )
    add(
        "--duplicate-threshold",
        type=float,
        default=0.8,
        metavar="SIMILARITY",
        help="least Jaccard similarity of two texts' word 5-grams (default 0.8)",
    )
    group = parser.add_argument_group("--format wikipedia")
    add = group.add_argument
    add("--cleaner", choices=_CLEANERS, default="nulls", help="from wiki markup to text")
    add("--index", type=Path, help="of a multistream dump (default: looked for beside it)")
    group = parser.add_argument_group("--format jsonl and parquet")
    add = group.add_argument
    add("--text-field", metavar="FIELD", help="holds the text (default: text)")
    add(
        "--source-key",
        metavar="FIELD",
        help="names the source, which may have many rows: a publisher, an author, a cluster id "
        "(default: id, and every row is a source of its own)",
    )
    group = parser.add_argument_group("--format generated")
    group.add_argument("--articles", type=number, default=300, help="to invent (default 300)")
    group.add_argument("--renderings", type=number, default=8, help="documents each (default 8)")
    group.add_argument("--seed", type=int, default=0, help="of what is invented (default 0)")
    group.add_argument(
        "--articles-per-source",
        type=number,
        default=1,
        help="that make up a collection, which is one source (default 1: each is a source)",
    )
    group.add_argument(
        "--book-articles",
        type=int,
        default=0,
        help="that make up one more source, a book (default 0: none)",
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Build a corpus from command-line arguments."""
    args = build_parser().parse_args(argv)
    check_absent(args.out)
    # Imported late, so that --help and usage errors are immediate.
    from data_prep.pipeline import BuildOptions, build_corpus
    from nulls_dist.data.duplicates import Policy

    begin = time.monotonic()
    with join_crew(args.workers) as crew:
        if not crew.is_leader:
            logging.getLogger("data_prep").setLevel(logging.ERROR)  # the leader says it all
            crew.barrier()  # and is the one to refuse a command
        options = BuildOptions(
            tokenizer=args.tokenizer,
            eos_token=args.eos_token,
            num_partitions=args.partitions,
            router_seed=args.router_seed,
            limit=args.limit,
            exclude=args.exclude,
            exclude_deleted=args.exclude_deleted,
            duplicates=Policy(args.duplicates),
            duplicate_threshold=args.duplicate_threshold,
        )
        reader = _open_reader(args)
        if crew.is_leader:
            crew.barrier()
        manifest = build_corpus(reader, options, args.out, crew)
        if crew.is_leader:
            _log_summary(manifest, time.monotonic() - begin)


def _open_reader(args: argparse.Namespace) -> "Reader":
    from data_prep import readers
    from data_prep.generated.encyclopedia import EncyclopediaSpec
    from data_prep.rows import TEXT_FIELD, Fields

    if (args.format == _GENERATED) != (args.input == _GENERATED):
        raise ConfigError(
            f"--input {args.input} with --format {args.format}: the generated encyclopedia is "
            "--input generated --format generated"
        )
    _check_only_for(args, ("text_field", "source_key"), _ROW_FORMATS)
    _check_only_for(args, ("index",), ("wikipedia",))
    if args.format == _GENERATED:
        spec = EncyclopediaSpec(
            articles=args.articles,
            renderings=args.renderings,
            seed=args.seed,
            articles_per_source=args.articles_per_source,
            book_articles=args.book_articles,
        )
        return readers.open_generated(spec, name=args.name)
    if args.format == "wikipedia":
        return readers.open_wikipedia(
            Path(args.input), name=args.name, cleaner=args.cleaner, index=args.index
        )
    if args.format == "text":
        return readers.open_text(args.input, name=args.name)
    fields = Fields(text=args.text_field or TEXT_FIELD, source_key=args.source_key)
    open_rows = readers.open_jsonl if args.format == "jsonl" else readers.open_parquet
    return open_rows(args.input, name=args.name, fields=fields)


def _check_only_for(args: argparse.Namespace, names: Sequence[str], formats: Sequence[str]) -> None:
    for name in names:
        if getattr(args, name) is not None and args.format not in formats:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --format {' and '.join(formats)}; leave it "
                f"out with --format {args.format}"
            )


def _log_summary(manifest: "CorpusManifest", seconds: float) -> None:
    build = manifest.build
    logger.info(
        "%d sources, %d documents, %d tokens (vocabulary %d), %.1f MB of text",
        manifest.num_sources,
        manifest.num_documents,
        manifest.num_tokens,
        manifest.tokenizer.vocab_size,
        build["text_bytes"] / 1e6,
    )
    logger.info(
        "aliases: %d resolved, %d cyclic, %d without a target in the corpus",
        build["aliases"]["resolved"],
        build["aliases"]["cyclic"],
        build["aliases"]["without_target"],
    )
    for reason, count in sorted(build["skipped"].items()):
        logger.info("skipped: %d, %s", count, reason)
    for reason, count in sorted(build["quarantined"].items()):
        logger.info("quarantined: %d, %s", count, reason)
    if (found := build["duplicates"]) is not None:
        logger.info("near-duplicates: %d pairs among %d sources", found["pairs"], found["sources"])
        if found["sources_gone"]:
            logger.info("%s: %d sources are gone", found["policy"], found["sources_gone"])
        if found["largest_group"] > 1:
            logger.info("the largest group is of %d sources", found["largest_group"])
    rate = build["text_bytes"] / 1e6 / seconds
    logger.info("%.1f s, %.2f MB of text per second", seconds, rate)


if __name__ == "__main__":
    code = run_command(main)
    end_ranks(code)
    sys.exit(code)
