"""The dense parameters of a checkpoint, whatever number of files they are in."""

import torch
from torch import Tensor

from nulls_dist.checkpoint.format import WEIGHTS_DIR, is_backbone_weights
from nulls_dist.checkpoint.store import Checkpoint, TensorFile
from nulls_dist.errors import IntegrityError


class BackboneWeights:
    """The parts of a checkpoint's backbone, verified and read as if they were one file.

    Attributes:
        path: pattern of the parts, for messages.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Open all parts.

        Raises:
            IntegrityError: a part is damaged, or a tensor is in two of them.
        """
        self.path = checkpoint.root / WEIGHTS_DIR / "backbone-part*.safetensors"
        self._files: dict[str, TensorFile] = {}
        for file in filter(is_backbone_weights, checkpoint.files):
            part = checkpoint.tensors(file)
            for name in part.names():
                if name in self._files:
                    raise IntegrityError(f"{part.path}: {name} is in {self._files[name].path} too")
                self._files[name] = part

    def names(self) -> list[str]:
        """Return the tensors' names, sorted."""
        return sorted(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return self._file_of(name).shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type without reading it."""
        return self._file_of(name).dtype(name)

    def read(self, name: str) -> Tensor:
        """Read a whole tensor.

        Raises:
            IntegrityError: no part has one of that name.
        """
        return self._file_of(name).read(name)

    def _file_of(self, name: str) -> TensorFile:
        if name not in self._files:
            raise IntegrityError(f"{self.path}: no tensor {name!r}")
        return self._files[name]
