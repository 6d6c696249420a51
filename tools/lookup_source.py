"""Say whether a source is in a corpus or checkpoint, where, and in what state."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import UnknownSourceError

if TYPE_CHECKING:
    from nulls_dist.unlearn.lookup import SourcePlace


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="lookup_source.py",
        summary=(
            "Look sources up by title, alias or key, or by id:, title:, url:, key:. In a corpus "
            "also says which other sources hold a text of theirs, whole or nearly."
        ),
        examples=[
            "python tools/lookup_source.py RUN/checkpoints/step-00000100 'Alan Turing' key:1208",
            "python tools/lookup_source.py CORPUS id:1234567890123456789 --json",
        ],
    )
    parser.add_argument("root", type=Path, help="directory of a checkpoint or corpus")
    parser.add_argument("names", nargs="+", metavar="KEY", help="name of a source")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.unlearn.lookup import look_up

    places = look_up(args.root, args.names)
    if args.json:
        print(json.dumps([asdict(place) for place in places], indent=2))
    else:
        for place in places:
            print(_spell(place))
    missing = [place.name for place in places if place.source_id is None]
    if missing:
        raise UnknownSourceError(
            f"{len(missing)} of {len(places)} names are no one source: {missing}"
        )


def _spell(place: "SourcePlace") -> str:
    """Return the name, what is known of it, a line each, and its near-duplicates, a line each."""
    facts = {name: value for name, value in asdict(place).items() if value not in ("", None)}
    name, near = facts.pop("name", ""), facts.pop("near_duplicates", None)
    if near is not None:
        facts["near_duplicates"] = len(near)
    width = max(map(len, facts))
    lines = [name, *(f"  {fact:<{width}}  {value}" for fact, value in facts.items())]
    for other in near or []:
        lines += ["    " + "  ".join(f"{fact}={value}" for fact, value in other.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_command(main))
