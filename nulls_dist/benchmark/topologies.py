"""The ways to share one training among processes that are proved to be the same training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.durable import check_absent

BASE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "model.num_experts": 4,
        "model.vocab_size": 512,  # divisible by every degree of tensor parallelism used here
        "train.global_batch_rows": 16,
        "train.micro_batch_rows": 2,
        "train.eval_rows": 16,
        "train.eval_every": 0,
        "optim.eps": 1e-6,  # with 1e-8 Adam's first steps magnify rounding of tiny gradients
        "optim.grad_clip": 0.5,  # below the norms met here, so that every step is clipped
    }
)
"""Overrides of nulls_tiny that all combinations share: 16 rows per step, 4 experts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Combination:
    """One way to train."""

    name: str
    processes: int = 1
    reference: str = "fp32"
    """Name of the single-process combination that it must equal."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Overrides besides BASE."""
    stage: int = 1
    """Of ZeRO."""
    overlap: bool = False
    """Whether ZeRO communicates gradients while others are computed."""

    @property
    def is_reference(self) -> bool:
        """Say whether others are compared with this one."""
        return self.name == self.reference

    @property
    def zero(self) -> dict[str, Any]:
        """Return the content of the DeepSpeed file."""
        # Small buckets, so that several are filled in every step, in the order gradients arrive.
        buckets = {"reduce_bucket_size": 20_000, "allgather_bucket_size": 20_000}
        return {"zero_optimization": {"stage": self.stage, "overlap_comm": self.overlap, **buckets}}


_TP2: Final = {"parallel.tp": 2}
_EP1: Final = {"parallel.ep": 1}
_EP2: Final = {"parallel.ep": 2}
_RECOMPUTE: Final = {"train.recompute": True}
_BF16: Final = {"train.dtype": "bf16"}
_ONE_ROW: Final = {"train.micro_batch_rows": 1}
_SENT: Final = {"parallel.dispatcher": "all_to_all"}


def build_topology_corpus(work: Path) -> Path:
    """Make a new directory with a corpus in it of a few documents per expert.

    Raises:
        NullsError: it exists, or the corpus could not be built.
    """
    check_absent(work)
    work.mkdir(parents=True)
    corpus = work / "corpus"
    Commands().python(
        *("-m", "data_prep.build", "--input", "generated", "--format", "generated"),
        *("--articles", 24, "--renderings", 4, "--out", corpus, "--tokenizer", "train:bpe:400"),
    )
    return corpus


def training_arguments(
    combination: Combination,
    corpus: Path,
    run_dir: Path,
    *options: str,
    steps: int,
    save_every: int,
) -> list[str]:
    """Return the arguments of the training command; writes the DeepSpeed file beside the run."""
    file = run_dir.with_suffix(".json")
    durable.write_json(file, combination.zero)
    settings = {
        **BASE,
        "train.steps": steps,
        "train.save_every": save_every,
        **combination.settings,
    }
    places = ("--preset", "nulls_tiny", "--data", str(corpus), "--run-dir", str(run_dir))
    overrides = [f"--set={name}={_text(value)}" for name, value in settings.items()]
    return [*places, f"--ds-config={file}", *overrides, *options]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


COMBINATIONS: Final = (
    Combination(name="fp32"),
    Combination(name="16 microbatches", settings=_ONE_ROW),
    Combination(name="recompute", settings=_RECOMPUTE),
    Combination(name="ZeRO-2", stage=2),
    Combination(name="EP2", processes=2),
    Combination(name="EP2 ZeRO-2", processes=2, stage=2),
    Combination(name="EP2 ZeRO-2 overlap", processes=2, stage=2, overlap=True),
    Combination(name="DP2", processes=2, settings=_EP1),
    Combination(name="DP2 overlap", processes=2, settings=_EP1, overlap=True),
    Combination(name="DP2 ZeRO-2", processes=2, settings=_EP1, stage=2),
    Combination(
        name="DP2 ZeRO-2 overlap recompute",
        processes=2,
        settings=_EP1 | _RECOMPUTE,
        stage=2,
        overlap=True,
    ),
    Combination(name="TP2", processes=2, settings=_TP2),
    Combination(name="TP2 ZeRO-2 recompute", processes=2, settings=_TP2 | _RECOMPUTE, stage=2),
    Combination(name="EP4", processes=4),
    Combination(name="EP2 x DP2", processes=4, settings=_EP2),
    Combination(name="EP2 x DP2 ZeRO-2 overlap", processes=4, settings=_EP2, stage=2, overlap=True),
    Combination(name="DP4 ZeRO-2 4 microbatches", processes=4, settings=_EP1 | _ONE_ROW, stage=2),
    Combination(name="TP2 x EP2", processes=4, settings=_TP2),
    Combination(
        name="TP2 x DP2 ZeRO-2 overlap", processes=4, settings=_TP2 | _EP1, stage=2, overlap=True
    ),
    Combination(name="all-to-all", reference="all-to-all", settings=_SENT),
    Combination(name="all-to-all EP2", reference="all-to-all", processes=2, settings=_SENT),
    Combination(
        name="all-to-all EP2 ZeRO-2 overlap recompute",
        reference="all-to-all",
        processes=2,
        settings=_SENT | _RECOMPUTE,
        stage=2,
        overlap=True,
    ),
    Combination(
        name="all-to-all DP2 ZeRO-2",
        reference="all-to-all",
        processes=2,
        settings=_SENT | _EP1,
        stage=2,
    ),
    Combination(
        name="all-to-all EP2 x DP2",
        reference="all-to-all",
        processes=4,
        settings=_SENT | _EP2,
    ),
    Combination(
        name="all-to-all TP2 x EP2", reference="all-to-all", processes=4, settings=_SENT | _TP2
    ),
    Combination(name="bf16", reference="bf16", settings=_BF16),
    Combination(name="bf16 EP2", reference="bf16", processes=2, settings=_BF16),
    Combination(name="bf16 EP2 ZeRO-2", reference="bf16", processes=2, settings=_BF16, stage=2),
    Combination(name="bf16 TP2", reference="bf16", processes=2, settings=_BF16 | _TP2),
    Combination(name="bf16 EP2 x DP2", reference="bf16", processes=4, settings=_BF16 | _EP2),
)
