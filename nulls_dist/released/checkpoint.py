"""Write a released model as a checkpoint of this project, before its first step here.

The checkpoint has the released weights in their type, the float32 master weights that the format
asks for (the same values), no moments, and the released tokenizer and titles.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor
from tqdm import tqdm

from nulls_dist import __version__
from nulls_dist.checkpoint.format import (
    DATA_FILE,
    MANIFEST_FILE,
    RUN_FILE,
    SOURCES_FILE,
    TOKENIZER_DIR,
    CheckpointManifest,
    FragmentKey,
    backbone_optimizer_file,
    backbone_weights_file,
    sink_optimizer_file,
    sink_weights_file,
)
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.data.format import TokenizerRecord
from nulls_dist.data.source_table import write_source_table
from nulls_dist.data.tokenizer import HF_FILE, choose_eos, open_tokenizer_file, record_tokenizer
from nulls_dist.durable import (
    check_outside,
    new_directory,
    record_file,
    sha256_file,
    write_json,
)
from nulls_dist.errors import InputError
from nulls_dist.released.model_config import CONFIG_FILE, ReleasedConfig, read_config
from nulls_dist.released.source_table import build_source_table
from nulls_dist.released.weights import WEIGHTS_FILE, ReleasedWeights
from nulls_dist.routing.reference import IdType
from nulls_dist.routing.router import NUM_BUCKETS

logger = logging.getLogger(__name__)

_TOKENIZER_FILE: Final = f"{TOKENIZER_DIR}/{HF_FILE}"


def import_release(
    root: Path, titles: Path, out: Path, *, id_dtype: IdType = "int32"
) -> CheckpointManifest:
    """Write a checkpoint of a released model, whole or not at all.

    Memory is that of one copy of the sinks' weights; lit_model.pth is mapped.

    Args:
        root: directory with lit_model.pth, model_config.yaml and tokenizer.json.
        titles: the mapping from titles to indices, as `released.titles` describes it.
        out: a directory that does not exist yet, outside `root`.
        id_dtype: integer type of the ids that the model was trained with.

    Returns:
        The manifest.

    Raises:
        InputError: `out` exists or lies in `root`, or a file is missing or cannot be used.
        LockedError: another process is writing `out`.
    """
    check_outside(out, root)
    config = read_config(root)
    weights = ReleasedWeights(root, config)
    _check_tokenizer(root / HF_FILE, config)
    sources = build_source_table(titles, vocab_size=config.vocab_size, id_dtype=id_dtype)
    with new_directory(out) as partial:
        write_source_table(partial / SOURCES_FILE, sources)
        (partial / TOKENIZER_DIR).mkdir()
        shutil.copyfile(root / HF_FILE, partial / _TOKENIZER_FILE)
        tokenizer = _record_tokenizer(partial)
        files = [SOURCES_FILE, _TOKENIZER_FILE, RUN_FILE, DATA_FILE]
        files += _write_weights(partial, weights, config)
        origin = _describe_origin(root, titles, config)
        write_json(partial / RUN_FILE, {"nulls_dist": __version__, "imported": origin})
        write_json(partial / DATA_FILE, {"note": "imported: no row of a corpus was read"})
        manifest = CheckpointManifest(
            step=0,
            model=asdict(config.model(id_dtype)),
            router=config.router(id_dtype),
            bucket_table=np.zeros(NUM_BUCKETS, dtype=np.uint16),
            corpus={"corpus": titles.name, "titles_sha256": origin["files"][titles.name]},
            tokenizer=asdict(tokenizer),
            tombstones=(),
            files=tuple(record_file(partial, name) for name in sorted(files)),
        )
        write_json(partial / MANIFEST_FILE, manifest.to_dict())
    return manifest


def _check_tokenizer(path: Path, config: ReleasedConfig) -> None:
    tokenizer = open_tokenizer_file(path)
    choose_eos(tokenizer, path)
    if tokenizer.vocab_size > config.padded_vocab_size:
        raise InputError(
            f"{path}: {tokenizer.vocab_size} tokens, but the model has only "
            f"{config.padded_vocab_size}; is it another model's tokenizer?"
        )


def _record_tokenizer(root: Path) -> TokenizerRecord:
    path = root / _TOKENIZER_FILE
    eos_id = choose_eos(open_tokenizer_file(path), path)
    return record_tokenizer(root, _TOKENIZER_FILE, eos_id)


def _write_weights(root: Path, weights: ReleasedWeights, config: ReleasedConfig) -> list[str]:
    """Write weights and master weights; return the files."""
    files = [backbone_weights_file(0), backbone_optimizer_file(0), sink_weights_file(0)]
    backbone = dict(weights.backbone())
    write_tensors(root / files[0], backbone)
    write_tensors(root / files[1], _masters(backbone))
    del backbone
    layers = range(config.n_layer)
    sinks = {name: tensor for layer in layers for name, tensor in weights.sinks(layer).items()}
    write_tensors(root / files[2], sinks)
    del sinks
    for layer in tqdm(layers, desc="master weights", disable=None):
        files.append(sink_optimizer_file(0, layer))
        write_tensors(root / files[-1], _masters(weights.sinks(layer)))
    return files


def _masters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        str(FragmentKey(kind="master", name=name, start=0)): tensor.float().flatten()
        for name, tensor in tensors.items()
    }


def _describe_origin(root: Path, titles: Path, config: ReleasedConfig) -> dict[str, Any]:
    paths = (root / CONFIG_FILE, root / WEIGHTS_FILE, root / HF_FILE, titles)
    return {
        "config": asdict(config),
        "files": {path.name: sha256_file(path) for path in _logged(paths)},
    }


def _logged(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        logger.info("checksum of %s", path)
        yield path
