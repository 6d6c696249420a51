"""What importing a released model means for deleting from it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nulls_dist.checkpoint.format import SOURCES_FILE
from nulls_dist.checkpoint.shapes import model_of
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.data.source_table import SourceTable
from nulls_dist.routing.reference_router import ReferenceSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """How the sources of an imported model share masks."""

    checkpoint: str
    num_sources: int
    num_masks: int
    """Different masks that these sources have."""
    max_sharing: int
    """Sources of the mask that most share."""
    num_all_sinks: int
    """Sources whose mask is the whole pool; deleting one would empty it."""
    num_backbone: int
    num_sinks: int
    router: str
    off_gain: float
    """What the authors multiply the backbone by when they ask it without sinks."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return asdict(self)


def describe_import(root: Path) -> ImportReport:
    """Describe a checkpoint that was imported.

    Raises:
        IntegrityError: it is damaged.
    """
    checkpoint = Checkpoint(root)
    model, router = model_of(checkpoint), checkpoint.manifest.build_router()
    spec = router.spec
    assert isinstance(spec, ReferenceSpec), "an imported model has a reference router"
    source_ids = SourceTable(checkpoint.path(SOURCES_FILE)).source_ids
    masks, counts = np.unique(router.mask_ids(source_ids), return_counts=True)
    return ImportReport(
        checkpoint=str(root),
        num_sources=len(source_ids),
        num_masks=len(masks),
        max_sharing=int(counts.max()),
        num_all_sinks=int(counts[masks == 0].sum()),
        num_backbone=model.num_backbone,
        num_sinks=model.num_sinks,
        router=spec.kind,
        off_gain=spec.off_gain,
    )


def format_import(report: ImportReport) -> str:
    """Return a report for a terminal."""
    lines = [
        f"checkpoint  {report.checkpoint}",
        f"neurons     {report.num_backbone} backbone, {report.num_sinks} sinks per MLP",
        f"router      {report.router}",
        f"sources     {report.num_sources} with {report.num_masks} masks",
    ]
    if report.max_sharing > 1:
        lines.append(
            f"twins       up to {report.max_sharing} sources have one and the same mask: "
            "excising one of them takes the whole mask from all the others too"
        )
    if report.num_all_sinks:
        lines.append(
            f"all sinks   {report.num_all_sinks} sources have every sink: excising one of them "
            "would empty the pool"
        )
    return "\n".join(lines)
