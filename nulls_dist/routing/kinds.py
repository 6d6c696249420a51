"""Which router a specification asks for: the project's own, or that of released weights."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nulls_dist.errors import ConfigError
from nulls_dist.routing.reference_router import ReferenceRouter, ReferenceSpec
from nulls_dist.routing.router import Router, RouterSpec


def spec_type(content: Mapping[str, Any]) -> type[RouterSpec]:
    """Return the type of a specification that was written as JSON."""
    return ReferenceSpec if "id_dtype" in content else RouterSpec


def open_router(
    spec: RouterSpec,
    bucket_table: npt.NDArray[np.uint16],
    tombstones: Collection[int] = (),
    private_sources: Collection[int] = (),
) -> Router:
    """Return the router of a specification.

    Raises:
        ConfigError: there are private sources and the router has no room for them.
    """
    if not isinstance(spec, ReferenceSpec):
        return Router(spec, bucket_table, tombstones, private_sources)
    if private_sources:
        raise ConfigError("a released model shares all its sinks: it has no private sources")
    return ReferenceRouter(spec, bucket_table, tombstones)
