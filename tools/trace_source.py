"""Say when sources were trained on: at which steps, how much of them in each epoch."""

import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nulls_dist.cli import CommandParser, run_command
from nulls_dist.errors import UnknownSourceError

logger = logging.getLogger("tools.trace_source")


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="trace_source.py",
        summary="Say when a checkpoint was trained on sources. The answer is derived from the "
        "corpus and the order of its data; tools/check_exposure.py compares that order with what "
        "a run logged. Sources are named as for lookup_source.py.",
        examples=[
            "python tools/trace_source.py RUN/checkpoints/step-00000100 CORPUS 'Alan Turing'",
            "python tools/trace_source.py CKPT CORPUS key:1208 id:1234567890123456789 --json",
        ],
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="directory of a checkpoint")
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="what it was trained on")
    parser.add_argument("names", nargs="+", metavar="KEY", help="name of a source")
    parser.add_argument("--json", action="store_true", help="answer as JSON, with every step")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.data.corpus import Corpus
    from nulls_dist.unlearn.replay import open_replay
    from nulls_dist.unlearn.trace import trace_sources

    checkpoint = Checkpoint(args.checkpoint)
    replay = open_replay(checkpoint, Corpus(args.corpus))
    if replay.first_data_step:
        logger.warning(
            "steps 1 to %d were trained on another corpus; trace those with it and a checkpoint "
            "of then",
            replay.first_data_step,
        )
    traces = trace_sources(checkpoint, replay, args.names)
    if args.json:
        print(json.dumps([asdict(trace) for trace in traces], indent=2))
    else:
        for trace in traces:
            facts = {
                name: value
                for name, value in asdict(trace).items()
                if value not in ("", None) and name not in ("steps", "epochs")
            }
            if trace.steps:
                facts |= {"num_steps": len(trace.steps), "first_step": trace.steps[0]}
                facts |= {"last_step": trace.steps[-1]}
            print("  ".join(f"{name}={value}" for name, value in facts.items()))
            for epoch in trace.epochs:
                values = asdict(epoch).items()
                print("  " + "  ".join(f"{name}={value}" for name, value in values))
    missing = [trace.name for trace in traces if trace.source_id is None]
    if missing:
        raise UnknownSourceError(
            f"{len(missing)} of {len(traces)} names are no one source: {missing}"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
