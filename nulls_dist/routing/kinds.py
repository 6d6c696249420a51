"""Which router a specification asks for: the project's own, or that of released weights."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nulls_dist.routing.reference_router import ReferenceRouter, ReferenceSpec
from nulls_dist.routing.router import Router, RouterSpec


def spec_type(content: Mapping[str, Any]) -> type[RouterSpec]:
    """Return the type of a specification that was written as JSON."""
    return ReferenceSpec if "id_dtype" in content else RouterSpec


def open_router(
    spec: RouterSpec, bucket_table: npt.NDArray[np.uint16], tombstones: Collection[int] = ()
) -> Router:
    """Return the router of a specification."""
    kind = ReferenceRouter if isinstance(spec, ReferenceSpec) else Router
    return kind(spec, bucket_table, tombstones)
