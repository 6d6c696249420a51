"""The source-unlearning benchmark: `python -m nulls_dist.benchmark run --size small --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.unlearning.sizes import SIZES
from nulls_dist.cli import CommandParser, Option, positive_int, run_command
from nulls_dist.parallel.quiet import import_quietly


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One sub-command: a module with a function of its name, which takes its options."""

    name: str
    module: str
    help: str
    examples: tuple[str, ...]
    options: tuple[Option, ...]


_OUT: Final = Option(
    flag="--out",
    parameter="out",
    settings={
        "type": Path,
        "required": True,
        "metavar": "DIR",
        "help": "directory of the benchmark; one that was begun is continued",
    },
)
_JOBS: Final = Option(
    flag="--jobs",
    parameter="jobs",
    settings={
        "type": positive_int,
        "default": 2,
        "help": "models at once, each one process with one thread (default 2)",
    },
)
_DONE_SEEDS: Final = Option(
    flag="--seeds",
    parameter="num_seeds",
    settings={
        "type": positive_int,
        "default": None,
        "metavar": "N",
        "help": "seeds from 0 on (default: all that 'run' has done)",
    },
)
_COMMANDS: Final = (
    Command(
        name="run",
        module="nulls_dist.benchmark.unlearning.run",
        help="train five models per seed, delete sources, ask all models and compare with targets",
        examples=(
            "python -m nulls_dist.benchmark run --size small --out bench-small",
            "python -m nulls_dist.benchmark run --size standard --seeds 3 --out bench-standard",
            "python -m nulls_dist.benchmark run --size coarse --out bench-coarse",
            "python -m nulls_dist.benchmark run --size real --out bench-real \\",
            "    --dump enwiki-pages-articles-multistream.xml.bz2 --questions articles.jsonl.xz",
        ),
        options=(
            Option(
                flag="--size",
                parameter="size",
                settings={
                    "choices": tuple(SIZES),
                    "required": True,
                    "help": "small: minutes, for tests; standard: 25 minutes a seed on two cores; "
                    "large: for a GPU, never run so far; coarse: collections of articles and a "
                    "book as sources; real: articles of --dump and --questions",
                },
            ),
            Option(
                flag="--seeds",
                parameter="num_seeds",
                settings={
                    "type": positive_int,
                    "default": 1,
                    "help": "worlds with initial values of their own, from seed 0 on (default 1); "
                    "more can be added later",
                },
            ),
            _OUT,
            _JOBS,
            Option(
                flag="--dump",
                parameter="dump",
                settings={"type": Path, "metavar": "FILE", "help": "Wikipedia dump for size real"},
            ),
            Option(
                flag="--questions",
                parameter="questions",
                settings={
                    "type": Path,
                    "metavar": "FILE",
                    "help": "articles with questions for size real, JSON Lines, plain or xz",
                },
            ),
        ),
    ),
    Command(
        name="attack",
        module="nulls_dist.benchmark.unlearning.attack",
        help="try to bring back what was deleted from the models of a benchmark that is done",
        examples=(
            "python -m nulls_dist.benchmark attack --out bench-small",
            "python -m nulls_dist.benchmark attack --out bench-small --attacks prefix,relearning",
        ),
        options=(
            _OUT,
            Option(
                flag="--attacks",
                parameter="names",
                settings={
                    "default": None,
                    "metavar": "NAMES",
                    "help": "separated by commas (default: all; an unknown one lists them)",
                },
            ),
            _DONE_SEEDS,
            _JOBS,
        ),
    ),
    Command(
        name="curves",
        module="nulls_dist.benchmark.unlearning.curves",
        help="delete more and more sources from a model of a benchmark that is done, and ask",
        examples=("python -m nulls_dist.benchmark curves --out bench-small",),
        options=(_OUT, _DONE_SEEDS, _JOBS),
    ),
    Command(
        name="sweep",
        module="nulls_dist.benchmark.unlearning.sweep",
        help="train models with other settings on the worlds of a benchmark that is done",
        examples=(
            "python -m nulls_dist.benchmark sweep --out bench-small --set model.num_active=8,32",
            "python -m nulls_dist.benchmark sweep --out bench-small --retrained "
            "--set model.sink_dropout=0.1,0.3 --set optim.lr=1e-3,4e-3",
            "python -m nulls_dist.benchmark sweep --out bench-small "
            "--set model.first_sink_layer=0,0+model.per_layer=false",
        ),
        options=(
            _OUT,
            Option(
                flag="--set",
                parameter="sweeps",
                settings={
                    "action": "append",
                    "required": True,
                    "metavar": "NAME=VALUES",
                    "help": "a setting of the training command and its values, separated by "
                    "commas, a training each; several settings are changed one at a time, unless "
                    "a value carries further ones: VALUE+NAME=VALUE",
                },
            ),
            Option(
                flag="--seeds",
                parameter="num_seeds",
                settings={
                    "type": positive_int,
                    "default": 1,
                    "metavar": "N",
                    "help": "train each on so many worlds, from seed 0 on (default 1); more can be "
                    "added later",
                },
            ),
            Option(
                flag="--retrained",
                parameter="is_retrained",
                settings={
                    "action": "store_true",
                    "help": "also train without the deleted sources, to compare with",
                },
            ),
            _JOBS,
        ),
    ),
    Command(
        name="rivals",
        module="nulls_dist.benchmark.unlearning.rivals",
        help="unlearn the dense models of a benchmark that is done by every post-hoc method",
        examples=(
            "python -m nulls_dist.benchmark rivals --out bench-small",
            "python -m nulls_dist.benchmark rivals --out bench-small --methods npo,rmu",
        ),
        options=(
            _OUT,
            Option(
                flag="--methods",
                parameter="names",
                settings={
                    "default": None,
                    "metavar": "NAMES",
                    "help": "separated by commas (default: all; an unknown one lists them)",
                },
            ),
            _DONE_SEEDS,
            _JOBS,
        ),
    ),
    Command(
        name="report",
        module="nulls_dist.benchmark.unlearning.report",
        help="write DIR/report.html anew from the results; run does so at its end",
        examples=("python -m nulls_dist.benchmark report --out bench-small",),
        options=(_OUT,),
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = CommandParser(
        prog="python -m nulls_dist.benchmark",
        summary="Measure whether deleting sources matches never having trained on them.",
        examples=[example for command in _COMMANDS for example in command.examples],
    )
    names = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        options = names.add_parser(
            command.name,
            help=command.help,
            prog=f"python -m nulls_dist.benchmark {command.name}",
            summary=command.help,
            examples=command.examples,
        )
        for option in command.options:
            options.add_argument(option.flag, dest=option.parameter, **option.settings)
        options.set_defaults(command=command)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args = build_parser().parse_args(argv)
    command: Command = args.command
    wanted = {option.parameter: getattr(args, option.parameter) for option in command.options}
    getattr(import_quietly(command.module), command.name)(**wanted)


if __name__ == "__main__":
    sys.exit(run_command(main))
