"""Evaluate a checkpoint or a release with a source's own sinks, others' or none."""

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.errors import ConfigError, InputError, RefusedError

if TYPE_CHECKING:
    from nulls_dist.eval.facts import Probe
    from nulls_dist.eval.states import State
    from nulls_dist.eval.subject import Subject
    from nulls_dist.hashing import U64Array

logger = logging.getLogger("tools.evaluate")

_STATES: Final = ("on", "off", "nearest", "placebo")
_LOSS: Final = [
    "python tools/evaluate.py loss RUN/checkpoints/step-00000100 --data CORPUS",
    "python tools/evaluate.py loss RELEASE --data HELD-OUT-CORPUS --state off --json",
]
_FACTS: Final = [
    "python tools/evaluate.py facts CKPT --data GENERATED-CORPUS --state on off nearest placebo",
    "python tools/evaluate.py facts CKPT --questions questions.jsonl",
]
_HARNESS: Final = [
    "python tools/evaluate.py harness CKPT --tasks sciq piqa --limit 100",
    "python tools/evaluate.py harness CKPT --tasks my-tasks/ --state on off --source Alabama",
    "python tools/evaluate.py harness CKPT --tasks my-tasks/ --state nearest --data CORPUS",
]


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="evaluate.py",
        summary="Evaluate a checkpoint, or what convert_to_hf.py made of one. Each text is served "
        "by sinks: its source's own (on), none (off), those of the surviving source that is most "
        "alike (nearest) or of an unrelated one (placebo). Deleted sources have none of their own.",
        examples=[*_LOSS, *_FACTS, *_HARNESS],
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="loss|facts|harness")
    loss = kinds.add_parser(
        "loss",
        help="loss and perplexity on a corpus",
        prog="evaluate.py loss",
        summary="Measure the mean loss per token on documents of a corpus, in nats, apart for "
        "sources whose sinks can serve and for others (deleted or never trained on).",
        examples=_LOSS,
    )
    _add_common(loss, states=["on", "off"])
    loss.add_argument("--data", type=Path, required=True, metavar="CORPUS", help="the documents")
    loss.add_argument(
        "--documents",
        type=positive_int,
        default=1000,
        metavar="N",
        help="at most how many documents of either group, always the same (default 1000)",
    )
    facts = kinds.add_parser(
        "facts",
        help="share of questions that are answered",
        prog="evaluate.py facts",
        summary="Ask about sources: a question counts when greedy decoding would write exactly "
        "the answer.",
        examples=_FACTS,
    )
    _add_common(facts, states=["on", "off"])
    facts.add_argument(
        "--data", type=Path, metavar="CORPUS", help="needed for a release, nearest and placebo"
    )
    facts.add_argument(
        "--questions",
        type=Path,
        metavar="FILE",
        help="JSON lines with source, prompt and answer, or the facts.parquet of a generated "
        "corpus (default: that of CORPUS)",
    )
    _add_harness(kinds)
    return parser


def _add_harness(kinds: Any) -> None:
    harness = kinds.add_parser(
        "harness",
        help="tasks of lm-evaluation-harness",
        prog="evaluate.py harness",
        summary="Run tasks of lm-evaluation-harness (pip install 'nulls-dist[eval]'). The source "
        "of an item is --source, or else what the item's field 'source' names.",
        examples=_HARNESS,
    )
    _add_common(harness, states=["off"])
    harness.add_argument(
        "--tasks",
        nargs="+",
        required=True,
        metavar="TASK",
        help="folders of task files in YAML, which may run Python code of their own; or names "
        "that the harness knows, whose data it downloads",
    )
    harness.add_argument("--source", metavar="NAME", help="of all items, as in sources.txt")
    harness.add_argument(
        "--data", type=Path, metavar="CORPUS", help="needed for the states nearest and placebo"
    )
    harness.add_argument("--limit", type=positive_int, metavar="N", help="first N items of a task")
    harness.add_argument(
        "--fewshot",
        type=positive_int,
        metavar="N",
        help="items shown before each (default: what the task says)",
    )


def _add_common(parser: ArgumentParser, *, states: list[str]) -> None:
    parser.add_argument("model", type=Path, help="directory of a checkpoint or release")
    parser.add_argument(
        "--state",
        nargs="+",
        choices=_STATES,
        default=states,
        help=f"one or more (default: {' '.join(states)})",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    if args.out and args.out.is_dir():
        raise ConfigError(f"--out {args.out} is a directory; name a file")
    measure = {"loss": _measure_loss, "facts": _measure_facts, "harness": _run_harness}
    result, tables = measure[args.kind](args)
    result = {"kind": args.kind, "model": str(args.model), "result": result}
    if args.out:
        from nulls_dist.durable import write_json

        write_json(args.out, result)
    print(json.dumps(result, indent=2) if args.json else "\n\n".join(tables))


_Result = tuple[dict[str, Any], list[str]]
"""For machines, and tables for people."""


def _measure_loss(args: Namespace) -> _Result:
    from nulls_dist.data.corpus import Corpus
    from nulls_dist.eval.loss import choose_documents, format_losses, measure_losses
    from nulls_dist.eval.states import donors
    from nulls_dist.eval.subject import open_subject

    corpus = Corpus(args.data)
    result, tables = {}, []
    with open_subject(args.model) as subject:
        subject.check_tokens(corpus)
        lacking = subject.lacking(corpus).tolist()
        for group, members, states in _groups(subject, corpus.source_ids, args.state):
            documents = choose_documents(corpus, members, args.documents)
            if not documents:
                continue
            asked = sorted({int(corpus.source_ids[number]) for number in documents})
            losses = measure_losses(
                subject,
                corpus,
                documents,
                {state: donors(state, corpus, asked, deleted=lacking) for state in states},
                context_length=subject.context_length,
            )
            result[group] = asdict(losses) | {"perplexity": losses.perplexity}
            tables.append(format_losses(f"{group} sources", losses))
    return result, tables


def _measure_facts(args: Namespace) -> _Result:
    import numpy as np

    from nulls_dist.data.corpus import Corpus
    from nulls_dist.eval.fact_table import format_table, measure_facts
    from nulls_dist.eval.subject import open_subject

    corpus = Corpus(args.data) if args.data else None
    probes = _read_probes(args)
    result, tables = {}, []
    with open_subject(args.model) as subject:
        if corpus is not None:
            subject.check_tokens(corpus)
        lacking = [] if corpus is None else subject.lacking(corpus).tolist()
        asked = np.array([probe.source_id for probe in probes], np.uint64)
        for group, members, states in _groups(subject, asked, args.state):
            table = measure_facts(
                f"{group} sources",
                subject,
                corpus,
                subject.tokenizer,
                [probe for probe in probes if np.isin(np.uint64(probe.source_id), members)],
                states=states,
                deleted=lacking,
            )
            result[group] = asdict(table)["scores"]
            tables.append(format_table(table))
    return result, tables


def _read_probes(args: Namespace) -> "list[Probe]":
    """Read the questions; their sources are those of the corpus, or else of the checkpoint."""
    from nulls_dist.checkpoint.store import Checkpoint
    from nulls_dist.data.format import FACTS_FILE, SOURCES_FILE
    from nulls_dist.data.source_table import SourceTable
    from nulls_dist.eval.evidence import read_questions
    from nulls_dist.eval.facts import read_probes
    from nulls_dist.unlearn.plan import open_sources

    if args.data:
        table = SourceTable(args.data / SOURCES_FILE)
    elif args.questions:
        table = open_sources(Checkpoint(args.model))
    else:
        raise ConfigError("facts needs --questions FILE, or --data CORPUS of a generated corpus")
    path = args.questions or args.data / FACTS_FILE
    if not path.is_file():
        raise InputError(f"{path} is missing; only generated corpora have facts: --questions FILE")
    if path.suffix == ".parquet":
        return read_probes(path, table.source_ids.tolist())
    return read_questions(path, table)


def _groups(
    subject: "Subject", source_ids: "U64Array", states: Sequence[str]
) -> "Iterator[tuple[str, U64Array, list[State]]]":
    """Yield what sources are, which, and the states to ask them in: not on where they are deleted.

    Raises:
        RefusedError: no source has sinks of its own, and no other state is asked for.
    """
    import numpy as np

    from nulls_dist.eval.states import State

    wanted = [State(state) for state in dict.fromkeys(states)]
    served = np.intersect1d(source_ids, subject.survivors)
    others = np.setdiff1d(source_ids, subject.survivors)
    without: list[State] = [state for state in wanted if state is not State.ON]
    if len(others) and not without:
        if not len(served):
            raise RefusedError(
                f"{subject.root} has sinks for none of the {len(others)} sources: they were "
                "deleted, it was not trained on them, or it holds no sinks; ask in the state off"
            )
        logger.warning("%d deleted or unknown sources are not asked in the state on", len(others))
    if len(served):
        yield "surviving", served, wanted
    if len(others) and without:
        yield "deleted or unknown" if len(subject.survivors) else "all", others, without


def _run_harness(args: Namespace) -> _Result:
    try:
        from nulls_dist.eval.harness import NullsLM, format_results, run_tasks
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise ConfigError(
            "lm-evaluation-harness is not installed: pip install 'nulls-dist[eval]'"
        ) from error

    result, tables = {}, []
    for state in dict.fromkeys(args.state):
        model = NullsLM(args.model, state=state, source=args.source, corpus=args.data)
        with closing(model):
            result[state] = run_tasks(model, args.tasks, limit=args.limit, num_fewshot=args.fewshot)
        tables.append(format_results(f"state {state}", result[state]))
    return result, tables


if __name__ == "__main__":
    sys.exit(run_command(main))
