"""Make a model that is already trained forget texts, by one of the published methods."""

import json
import logging
import sys
from argparse import Action, ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.errors import ConfigError

if TYPE_CHECKING:
    from nulls_dist.posthoc.plan import StopRule

logger = logging.getLogger("tools.unlearn_posthoc")


class _List(Action):
    """Print the methods and leave, as --version does."""

    def __call__(self, parser: ArgumentParser, *_: Any) -> None:
        from nulls_dist.posthoc.catalogue import format_catalogue

        print(format_catalogue())
        parser.exit()


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="unlearn_posthoc.py",
        summary="Make a Hugging Face model, or a dense checkpoint of this project, forget texts. "
        "The input is not touched. Nothing proves that what was to be forgotten is gone: measure "
        "it, best beside a model that never saw it. Models that were pretrained with sinks are "
        "stripped by strip_sources.py instead.",
        examples=[
            "python tools/unlearn_posthoc.py --list",
            "python tools/unlearn_posthoc.py llama --method npo --forget forget.jsonl "
            "--retain retain.jsonl --out unlearned",
            "python tools/unlearn_posthoc.py llama --method gradient-difference --forget book.txt "
            "--retain others/ --unseen another.txt --steps 100 --out unlearned",
            "python tools/unlearn_posthoc.py llama --method simnpo --forget forget10.json "
            "--retain retain90.json --set beta=4.5 --stop forget/accuracy=0.4 --out unlearned",
        ],
    )
    parser.add_argument(
        "--list", action=_List, nargs=0, help="print the methods with what each needs, and leave"
    )
    _add_texts(parser)
    _add_plan(parser)
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    return parser


def _add_texts(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="Hugging Face folder with safetensors, or a checkpoint of this project without sinks",
    )
    parser.add_argument("--method", required=True, metavar="NAME", help="see --list")
    parser.add_argument(
        "--forget",
        type=Path,
        required=True,
        metavar="FILE",
        help="texts to forget: JSON lines or an array of text, of prompt and answer, or of "
        "question and answer (TOFU), also .gz or .xz; a .txt file or a folder of them",
    )
    parser.add_argument("--retain", type=Path, metavar="FILE", help="texts to keep, likewise")
    parser.add_argument(
        "--unseen",
        type=Path,
        metavar="FILE",
        help="texts that the model never saw, likewise: unless --stop says otherwise, unlearning "
        "ends where the texts to forget are memorized no more than these",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="output folder; must not exist"
    )
    parser.add_argument(
        "--template",
        default="Question: {question}\nAnswer:",
        help="prompt of a question (default: 'Question: {question}', a new line, 'Answer:')",
    )
    parser.add_argument(
        "--refusal",
        action="append",
        metavar="TEXT",
        help="answer of the method refusal, repeatable (default: I don't know.)",
    )
    parser.add_argument(
        "--max-tokens",
        type=positive_int,
        metavar="N",
        help="of a text; longer documents are cut into pieces (default: 512, or the model's "
        "context if it is shorter)",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=positive_int,
        default=32,
        metavar="N",
        help="of the prompts that methods which ask make of documents (default 32)",
    )


def _add_plan(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--steps", type=positive_int, default=100, help="at most so many (default 100)"
    )
    parser.add_argument("--batch-size", type=positive_int, default=8, help="texts (default 8)")
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="default 1e-5")
    parser.add_argument("--weight-decay", type=float, default=0.01, help="default 0.01")
    parser.add_argument(
        "--evaluate-every", type=positive_int, default=10, metavar="STEPS", help="default 10"
    )
    parser.add_argument(
        "--stop",
        metavar="SCORE=VALUE",
        help="end at the first evaluation whose score is at most the value: forget/accuracy, the "
        "share of tokens that are the model's first choice",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="FIELD=VALUE",
        help="setting of the method, repeatable: beta=0.2, strengths=1,2,4",
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the weights, at work and in DIR; small steps vanish in bfloat16 (default float32)",
    )


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    from nulls_dist.posthoc.plan import Plan
    from nulls_dist.posthoc.unlearn_folder import Inputs, unlearn_folder

    record, summary = unlearn_folder(
        args.model,
        args.out,
        method=args.method,
        settings=args.settings,
        inputs=Inputs(
            forget=args.forget,
            retain=args.retain,
            unseen=args.unseen,
            template=args.template,
            refusals=tuple(args.refusal or ["I don't know."]),
            max_tokens=args.max_tokens,
            prompt_tokens=args.prompt_tokens,
        ),
        plan=Plan(
            max_steps=args.steps,
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            evaluate_every=args.evaluate_every,
            stop=None if args.stop is None else _stop_rule(args.stop),
            seed=args.seed,
        ),
        dtype=args.dtype,
        command=["tools/unlearn_posthoc.py", *argv],
    )
    print(json.dumps(record, indent=2) if args.json else summary)
    logger.info("written: %s", args.out)


def _stop_rule(text: str) -> "StopRule":
    from nulls_dist.config.overrides import parse_value
    from nulls_dist.posthoc.plan import StopRule

    score, equals, value = text.rpartition("=")
    if not equals:
        raise ConfigError(f"--stop {text}: must have the form SCORE=VALUE")
    return StopRule(score=score.strip(), at_most=parse_value(value.strip(), float, "--stop"))


if __name__ == "__main__":
    sys.exit(run_command(main))
