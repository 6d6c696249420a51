"""Plan a run and its sink pool: memory, speed, shared sinks, the price of deletions."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.config.deepspeed import DEFAULT_FILE_CONTENT, read_deepspeed_file
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import PRESETS, load_preset
from nulls_dist.parallel.gpus import GPUS


def build_parser() -> ArgumentParser:
    """Return the parser of this tool's command line."""
    parser = CommandParser(
        prog="plan_sinks.py",
        summary="Say what a run would need and what deletions from it would cost, before it is "
        "trained; nothing is allocated and no GPU is needed.",
        examples=[
            "python tools/plan_sinks.py --preset nulls_1b_x8 --world-size 8 --gpu h200 "
            "--sources 6400000",
            "python tools/plan_sinks.py --preset nulls_1b --corpus CORPUS --deletions 4 55 --json",
            "python tools/plan_sinks.py --preset nulls_1b --corpus CORPUS "
            "--set sinks.private_sources=private.txt",
            "python tools/plan_sinks.py --preset nulls_125m --set model.num_sinks=6144 "
            "--sources 50000 --max-collateral 0.01",
        ],
    )
    parser.add_argument("--preset", required=True, help=f"one of {', '.join(PRESETS)}")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        dest="overrides",
        help="change a field of the preset; repeatable",
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--sources", type=positive_int, metavar="S", help="how many there will be")
    sources.add_argument(
        "--corpus", type=Path, help="take sources, vocabulary and balance of experts from it"
    )
    parser.add_argument(
        "--world-size", type=positive_int, default=1, metavar="N", help="processes (default: 1)"
    )
    parser.add_argument(
        "--gpu",
        choices=sorted(GPUS),
        help="what every process would have: expected speed, and whether the run fits "
        "(default: plan for this machine)",
    )
    parser.add_argument("--ds-config", type=Path, metavar="FILE", help="DeepSpeed JSON")
    parser.add_argument(
        "--deletions",
        type=positive_int,
        nargs="+",
        metavar="D",
        help="numbers of sources to delete (default: 1 10 100)",
    )
    parser.add_argument(
        "--max-collateral",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of its sinks that an average survivor may lose (default: 0.05)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the tool."""
    args = build_parser().parse_args(argv)
    config = apply_overrides(load_preset(args.preset), args.overrides)
    deepspeed_file = read_deepspeed_file(args.ds_config) if args.ds_config else DEFAULT_FILE_CONTENT
    from nulls_dist.data.corpus import Corpus
    from nulls_dist.train.forecast import check_fits, format_forecast
    from nulls_dist.train.planning import plan_run
    from nulls_dist.unlearn.expectation import check_deletable
    from nulls_dist.unlearn.private_list import lay_out_private
    from nulls_dist.unlearn.sink_plan import format_sink_plan, plan_sinks

    forecast = plan_run(
        config,
        world_size=args.world_size,
        corpus=args.corpus,
        deepspeed_file=deepspeed_file,
        gpu=args.gpu,
    )
    corpus = Corpus(args.corpus) if args.corpus else None
    private_list = config.sinks.private_sources
    private = (
        lay_out_private(config.model, corpus, private_list) if corpus and private_list else None
    )
    plan = plan_sinks(
        config.model,
        sources=corpus or args.sources,
        deletions=args.deletions,
        max_collateral=args.max_collateral,
        private=private,
    )
    if args.json:
        print(json.dumps({"run": forecast, "sinks": plan}, indent=2))
    else:
        print(f"{format_forecast(forecast)}\n\n{format_sink_plan(plan)}")
    check_fits(forecast)  # after the table, which shows by how much
    num_private = private.num_reserved if private else 0
    check_deletable(config.model, args.max_collateral, num_private=num_private)


if __name__ == "__main__":
    sys.exit(run_command(main))
