"""How the ranks divide the work: degrees, checked in one place.

| degree | what it divides | ranks in one group |
|---|---|---|
| tp | heads, backbone neurons and vocabulary; sinks and norms are held by each rank | neighbours |
| dp | rows of the global batch: world size / tp | every tp-th |
| ep | sink experts; a part of dp | neighbours among those |
| edp | replicas of the same experts: dp / ep | every ep-th among those |
"""

from dataclasses import dataclass

from nulls_dist.config.schema import LARGEST_EP, ParallelConfig, RunConfig
from nulls_dist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """Degrees of parallelism and this rank's place in them."""

    dp: int
    ep: int
    rank: int
    num_experts: int
    tp: int = 1

    @property
    def tp_rank(self) -> int:
        """Which shard of the dense matrices this rank holds."""
        return self.rank % self.tp

    @property
    def dp_rank(self) -> int:
        """Which rows of the global batch this rank trains."""
        return self.rank // self.tp

    @property
    def edp(self) -> int:
        """Replicas of each sink expert."""
        return self.dp // self.ep

    @property
    def ep_rank(self) -> int:
        """Which block of experts this rank holds."""
        return self.dp_rank % self.ep

    @property
    def edp_rank(self) -> int:
        """Which replica of them."""
        return self.dp_rank // self.ep

    @property
    def local_experts(self) -> range:
        """Experts held by this rank."""
        per_rank = self.num_experts // self.ep
        return range(self.ep_rank * per_rank, (self.ep_rank + 1) * per_rank)

    def to_dict(self) -> dict[str, int]:
        """Return the degrees, for the record of a run."""
        return {"dp": self.dp, "ep": self.ep, "edp": self.edp, "tp": self.tp}


def resolve_topology(config: RunConfig, *, world_size: int, rank: int) -> Topology:
    """Fit a configuration to a world size.

    Raises:
        ConfigError: the degrees do not divide what they divide.
    """
    num_experts, tp = config.model.num_experts, config.parallel.tp
    if world_size % tp:
        raise ConfigError(f"parallel.tp ({tp}) must divide the world size ({world_size})")
    dp = world_size // tp
    ep = _resolve_ep(config.parallel, dp=dp, num_experts=num_experts)
    replicas = f"world size {world_size} / parallel.tp {tp}"
    for what, size in (
        (f"the data-parallel size ({replicas})", dp),
        ("model.num_experts", num_experts),
    ):
        if size % ep:
            raise ConfigError(f"parallel.ep ({ep}) must divide {what} ({size})")
    topology = Topology(dp=dp, ep=ep, rank=rank, num_experts=num_experts, tp=tp)
    if config.parallel.dispatcher == "local":
        unit = num_experts * topology.edp
        takers = (
            f"{num_experts} experts times {topology.edp} replicas ({replicas} / parallel.ep {ep})"
        )
    else:
        unit, takers = topology.dp, f"{topology.dp} data-parallel ranks"
    for name in ("global_batch_rows", "eval_rows"):
        rows = getattr(config.train, name)
        if rows % unit:
            raise ConfigError(
                f"train.{name} ({rows}) must be a multiple of {unit}: {takers} take equally many "
                "rows"
            )
    rows_per_rank = config.train.global_batch_rows // dp
    if rows_per_rank % config.train.micro_batch_rows:
        raise ConfigError(
            f"train.micro_batch_rows ({config.train.micro_batch_rows}) must divide the rows per "
            f"rank and step ({rows_per_rank} = train.global_batch_rows "
            f"{config.train.global_batch_rows} / {replicas})"
        )
    return topology


def _resolve_ep(parallel: ParallelConfig, *, dp: int, num_experts: int) -> int:
    if parallel.ep != LARGEST_EP:
        return parallel.ep
    return max(n for n in range(1, num_experts + 1) if num_experts % n == 0 and dp % n == 0)
