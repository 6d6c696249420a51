"""Pretrain a model: `<launcher> -m nulls_dist.pretrain --preset NAME --data CORPUS --run-dir RUN`.

Runs under plain python (one process), torchrun, deepspeed, srun and mpirun alike.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nulls_dist.cli import CommandParser, positive_int, run_command
from nulls_dist.config.deepspeed import DEFAULT_FILE_CONTENT, read_deepspeed_file
from nulls_dist.config.environment import LaunchedProcess, read_launch
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import CONTROLS, PRESETS, control_of, load_preset
from nulls_dist.config.schema import RunConfig
from nulls_dist.config.step_range import parse_step_range
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.gpus import GPUS
from nulls_dist.train.signals import stack_dumps, stop_request


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = CommandParser(
        prog="python -m nulls_dist.pretrain",
        summary="Pretrain a language model whose sources can be deleted afterwards.",
        examples=(
            "python -m nulls_dist.pretrain --preset nulls_tiny --data corpus --run-dir run",
            "torchrun --nproc-per-node 2 -m nulls_dist.pretrain --preset nulls_demo "
            "--data corpus --run-dir run --set train.steps=600",
            "python -m nulls_dist.pretrain --preset nulls_tiny --control active --data corpus "
            "--run-dir run-control",
            "sbatch slurm/pretrain_1b.sh",
        ),
    )
    parser.add_argument("--preset", required=True, help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("--data", required=True, type=Path, metavar="CORPUS")
    parser.add_argument("--run-dir", required=True, type=Path, metavar="RUN")
    parser.add_argument(
        "--ds-config", type=Path, metavar="FILE", help="DeepSpeed JSON; ds_configs/zero1.json"
    )
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|none|CKPT",
        help="auto continues the run directory (default); none demands an unused one; a "
        "checkpoint is continued in an unused one",
    )
    parser.add_argument(
        "--control",
        choices=CONTROLS,
        help="train the run's dense control instead, on the same batches: a transformer without "
        "sinks, its MLPs as wide as what serves one token (active: backbone and active sinks) or "
        "as the whole (total: backbone and all sinks); applied after --set",
    )
    parser.add_argument("--seed", type=int, default=0, help="of initial values and data order")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=c",
        dest="overrides",
        help="change a field of the preset, for example optim.lr=1e-3; repeatable",
    )
    parser.add_argument(
        "--profile",
        metavar="START:STOP",
        help="trace the steps after START up to STOP on rank 0 into RUN/log/profile-rank0000.json",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print parameters, FLOPs, memory per rank and sizes of checkpoints, and stop before "
        "anything is allocated",
    )
    parser.add_argument(
        "--json", action="store_true", help="with --dry-run: as JSON, with the whole configuration"
    )
    parser.add_argument(
        "--world-size",
        type=positive_int,
        metavar="N",
        help="with --dry-run: for N processes, instead of those that were launched",
    )
    parser.add_argument(
        "--gpu",
        choices=sorted(GPUS),
        help="with --dry-run: for this GPU, which need not be here; expected speed, and whether "
        "the run fits",
    )
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # deepspeed adds it
    return parser


def main(argv: Sequence[str]) -> None:
    """Run the command."""
    with stop_request() as stop, stack_dumps():
        args = build_parser().parse_args(argv)
        config = replace(apply_overrides(load_preset(args.preset), args.overrides), seed=args.seed)
        if args.control:
            config = control_of(config, args.control)
        deepspeed_file = (
            read_deepspeed_file(args.ds_config) if args.ds_config else DEFAULT_FILE_CONTENT
        )
        profile = None
        if args.profile is not None:
            steps = config.train.steps
            profile = parse_step_range(args.profile, option="--profile", steps=steps)
        launch = read_launch()
        if args.dry_run:
            if launch.rank == 0:
                _print_forecast(config, deepspeed_file, args, launch)
            return
        for option, value in (("--world-size", args.world_size), ("--gpu", args.gpu)):
            if value is not None:
                raise ConfigError(f"{option} {value}: only with --dry-run; a run has what is here")
        if args.json:
            raise ConfigError("--json: only with --dry-run; a run writes RUN/metrics.jsonl")
        from nulls_dist.train.job import train_job

        train_job(
            config,
            corpus_dir=args.data,
            run_dir=args.run_dir,
            resume=args.resume,
            deepspeed_file=deepspeed_file,
            profile=profile,
            launch=launch,
            stop=stop,
        )


def _print_forecast(
    config: RunConfig,
    deepspeed_file: dict[str, Any],
    args: argparse.Namespace,
    launch: LaunchedProcess,
) -> None:
    from nulls_dist.train.forecast import check_fits, format_forecast
    from nulls_dist.train.planning import plan_run

    forecast = plan_run(
        config,
        world_size=args.world_size or launch.world_size,
        corpus=args.data,
        deepspeed_file=deepspeed_file,
        gpu=args.gpu,
        local_rank=launch.local_rank,
    )
    print(json.dumps(forecast, indent=2) if args.json else format_forecast(forecast))
    check_fits(forecast)


if __name__ == "__main__":
    sys.exit(run_command(main))
