"""Speed of training against three other models, on the same documents, in the same run."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from nulls_dist.benchmark.matmul_peak import matmul_peak
from nulls_dist.benchmark.one_process import one_process
from nulls_dist.benchmark.random_corpus import write_random_corpus
from nulls_dist.config.presets import load_preset
from nulls_dist.config.schema import RunConfig
from nulls_dist.errors import ConfigError
from nulls_dist.parallel.accelerator import Accelerator, select_accelerator
from nulls_dist.parallel.topology import resolve_topology

_CORPUS_STEPS: Final = 16
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCase:
    """What is trained."""

    preset: str
    num_layers: int
    num_tokens: int
    """Per optimizer step."""
    micro_batch_rows: int | None
    """None takes the preset's, or all rows of the step where these are fewer."""
    vocab_size: int
    """Small, so that embedding, output layer and loss, the same for all, take next to no time."""

    def configure(self, accelerator: Accelerator) -> RunConfig:
        """Return the run's configuration.

        Raises:
            ConfigError: the tokens are not whole rows, or the rows do not fit the experts.
        """
        preset = load_preset(self.preset)
        rows, rest = divmod(self.num_tokens, preset.model.context_length)
        if rest or not rows:
            raise ConfigError(
                f"--tokens ({self.num_tokens}) must be a multiple of the {self.preset} row of "
                f"{preset.model.context_length} tokens"
            )
        return replace(
            preset,
            model=replace(
                preset.model,
                num_layers=self.num_layers,
                vocab_size=self.vocab_size,
            ),
            train=replace(
                preset.train,
                global_batch_rows=rows,
                micro_batch_rows=self.micro_batch_rows or min(rows, preset.train.micro_batch_rows),
                eval_rows=preset.model.num_experts,
                dtype=accelerator.dtype,
            ),
        )


def bench_training(work: Path, *, rounds: int, **case_fields: Any) -> dict[str, Any]:
    """Train four models in turns, in one process, on a CPU with one thread.

    Args:
        work: directory for the corpus, which is removed again.
        rounds: timed steps of each model; medians are reported.
        case_fields: what is trained, the fields of `TrainingCase`.

    Returns:
        What `training_rounds.run_rounds` returns, our FLOP/s and their share of the matrix
        product's peak.

    Raises:
        ConfigError: the case does not fit the preset.
    """
    case = TrainingCase(**case_fields)
    accelerator = select_accelerator(0)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(1)
    config = case.configure(accelerator)
    topology = resolve_topology(config, world_size=1, rank=0)
    work.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=work) as folder,
        one_process(topology, accelerator) as groups,
    ):
        # Megatron and DeepSpeed are imported after the accelerator is chosen.
        from nulls_dist.benchmark.training_rounds import run_rounds

        corpus = write_random_corpus(
            Path(folder) / "corpus",
            num_tokens=case.num_tokens * _CORPUS_STEPS,
            vocab_size=case.vocab_size,
        )
        measured = run_rounds(config, corpus, groups, accelerator.device, rounds)
    peak = matmul_peak(accelerator.device, _DTYPES[accelerator.dtype])
    return {
        "case": asdict(case),
        "dtype": accelerator.dtype,
        **measured,
        "matmul_flops_per_s": peak,
        "mfu": measured["flops_per_s"] / peak,
    }


def format_training(result: dict[str, Any]) -> str:
    """Return the figures as tables for a terminal."""
    case, contestants = result["case"], result["contestants"]
    parts = list(next(iter(contestants.values()))["parts_s"])
    lines = [
        f"{case['preset']}, {case['num_layers']} layers, {case['num_tokens']} tokens a "
        f"step in {result['documents']} documents, vocabulary {case['vocab_size']} (no head to "
        f"speak of), {result['dtype']}",
        f"{'':<22}{'tokens/s':>10}{'step s':>8}{'CPU s':>8}"
        + "".join(f"{part:>15}" for part in parts)
        + f"{'peak MiB':>10}",
    ]
    lines += [
        f"{name:<22}{row['tokens_per_s']:>10.0f}{row['step_s']:>8.2f}{row['cpu_s']:>8.2f}"
        + "".join(f"{row['parts_s'].get(part, 0):>15.3f}" for part in parts)
        + f"{row['peak_mib']:>10.0f}"
        for name, row in contestants.items()
    ]
    lines += [
        f"nulls-dist is {row['wall']:.2f}x {name} by the clock, {row['cpu']:.2f}x by CPU time "
        f"(target {row['target']})"
        for name, row in result["speedup"].items()
    ]
    lines.append(
        f"{result['flops_per_s'] / 1e9:.1f} GFLOP/s, {result['mfu']:.0%} of a matrix product's "
        f"{result['matmul_flops_per_s'] / 1e9:.1f}"
    )
    return "\n".join(lines)
