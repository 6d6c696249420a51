"""SegmentLayout: which source owns which tokens of a microbatch.

Dimensions: T tokens, S segments. A segment is a run of tokens of one document inside one row. The
layout is built once per microbatch on the host and is the only carrier of token metadata.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class SegmentLayout:
    """Segments of a microbatch, in token order."""

    lengths: tuple[int, ...]
    """Tokens per segment, S entries of at least 1."""
    source_ids: npt.NDArray[np.uint64]
    """(S,) the source whose sinks serve the segment; NO_SOURCE for none."""
    doc_indices: npt.NDArray[np.uint32]
    """(S,) which document of its source the segment is from."""

    def __post_init__(self) -> None:
        count = len(self.lengths)
        assert self.source_ids.shape == (count,), "one source id per segment"
        assert self.doc_indices.shape == (count,), "one document index per segment"
        assert min(self.lengths, default=1) >= 1, "segments are not empty"

    @property
    def num_segments(self) -> int:
        """S."""
        return len(self.lengths)

    @cached_property
    def ends(self) -> npt.NDArray[np.int32]:
        """(S,) end of each segment in tokens, int32."""
        return np.cumsum(self.lengths, dtype=np.int32)

    @property
    def num_tokens(self) -> int:
        """T."""
        return int(self.ends[-1]) if self.lengths else 0

    @cached_property
    def position_ids(self) -> npt.NDArray[np.int64]:
        """(T,) position inside the segment, from 0: positions restart per document."""
        lengths = np.array(self.lengths, dtype=np.int64)
        starts: npt.NDArray[np.int64] = np.repeat(self.ends - lengths, lengths)
        return np.arange(self.num_tokens, dtype=np.int64) - starts

    @cached_property
    def has_target(self) -> npt.NDArray[np.bool_]:
        """(T,) whether the next token belongs to the same segment and is this one's target."""
        mask = np.ones(self.num_tokens, dtype=np.bool_)
        mask[self.ends - 1] = False
        return mask
