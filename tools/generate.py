"""Continue a text with a checkpoint and say whose sinks served it."""

import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.errors import InputError

if TYPE_CHECKING:
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.eval.activation import Activation

logger = logging.getLogger("tools.generate")


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="generate.py",
        summary="Continue a text with the sinks of the surviving source that is nearest to it, of "
        "a named source, or of none. The text is on stdout, whose sinks served it on stderr.",
        examples=[
            "python tools/generate.py RUN/checkpoints/step-00000100 'Alabama is'",
            "python tools/generate.py CKPT 'It is' --source Alabama --temperature 0.8 --seed 1",
            "python tools/generate.py CKPT 'Alabama is' --state off --json",
            "python tools/generate.py CKPT 'Alabama is' --index CKPT-index",
        ],
    )
    parser.add_argument("checkpoint", type=Path, help="directory of the checkpoint")
    parser.add_argument("prompt", help="the text to continue")
    parser.add_argument(
        "--source", metavar="NAME", help="title, alias, key, id:... as in a line of sources.txt"
    )
    parser.add_argument(
        "--state",
        choices=("on", "off", "nearest"),
        help="whose sinks: those of --source, none, or of the source nearest to the prompt "
        "(default: on with --source, else nearest)",
    )
    parser.add_argument("--max-new-tokens", type=positive_int, default=64, help="default 64")
    parser.add_argument("--temperature", type=float, default=0.0, help="default 0: no chance")
    parser.add_argument("--seed", type=int, default=0, help="of chance (default 0)")
    parser.add_argument(
        "--top", type=positive_int, default=5, metavar="N", help="candidates to show (default 5)"
    )
    parser.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="index of the sources' names, built there if it is missing (default: a temporary one)",
    )
    parser.add_argument(
        "--encoder",
        default="ngrams",
        help="ngrams, or a model of the sentence-transformers package (default: ngrams)",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    if not args.prompt.isprintable() and _is_not_unicode(args.prompt):
        raise InputError("the prompt is not Unicode text; give it in UTF-8")
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.data.tokenizer import load_tokenizer
    from nulls_dist.eval.generation import continue_text
    from nulls_dist.eval.inference import load_for_inference
    from nulls_dist.export.release import tokenizer_record

    checkpoint = Checkpoint(args.checkpoint)
    activation = _activate(checkpoint, args)
    record = tokenizer_record(checkpoint)
    tokenizer = load_tokenizer(checkpoint.root, record)
    prompt = tokenizer.encode(args.prompt)
    with load_for_inference(checkpoint.root) as model:
        new = continue_text(
            model,
            prompt,
            source_id=activation.source_id,
            num_tokens=args.max_new_tokens,
            eos_id=record.eos_id,
            vocab_size=tokenizer.vocab_size,
            temperature=args.temperature,
            seed=args.seed,
        )
    text = tokenizer.decode([*prompt, *new])
    if args.json:
        print(json.dumps(_describe(activation) | {"text": text, "num_new_tokens": len(new)}))
    else:
        print(text)


def _is_not_unicode(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _activate(checkpoint: "Checkpoint", args: Any) -> "Activation":
    """Choose whose sinks serve the prompt, and say so on stderr."""
    from nulls_dist.eval.activation import Activation, choose_state, name_source, nearest_source
    from nulls_dist.eval.states import State
    from nulls_dist.retrieval.encoder import open_encoder
    from nulls_dist.sources import NO_SOURCE

    state = choose_state(checkpoint, args.source, State(args.state) if args.state else None)
    if state is State.ON:
        activation = name_source(checkpoint, args.source)
    elif state is State.OFF:
        activation = Activation(state=state)
    else:
        activation = nearest_source(
            checkpoint,
            args.prompt,
            index=args.index,
            encoder=open_encoder(args.encoder),
            limit=args.top,
        )
    score = "" if activation.score is None else f", score {activation.score:.2f}"
    if activation.source_id == NO_SOURCE:
        logger.info("no source activated: %s", activation.how)
    else:
        source = f"{activation.title!r} (id:{activation.source_id})"
        logger.info("activated %s: %s%s", source, activation.how, score)
    for entry in activation.candidates:
        logger.info("  %.2f  %-8s  %s", entry.score, entry.stage, entry.title)
    return activation


def _describe(activation: "Activation") -> dict[str, Any]:
    from nulls_dist.sources import NO_SOURCE

    described = asdict(activation)
    if activation.source_id == NO_SOURCE:
        described["source_id"] = None
    return described


if __name__ == "__main__":
    sys.exit(run_command(main))
