"""Small synthetic checkpoints that keep every rule of the format."""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tokenizers
import torch
from safetensors.torch import load_file
from torch import Tensor

from nulls_dist.checkpoint.format import (
    DATA_FILE,
    MANIFEST_FILE,
    OPTIMIZER_KINDS,
    RUN_FILE,
    SOURCES_FILE,
    TOKENIZER_DIR,
    CheckpointManifest,
    FragmentKey,
    Tombstone,
    backbone_optimizer_file,
    backbone_weights_file,
    sink_optimizer_file,
    sink_weights_file,
)
from nulls_dist.checkpoint.shapes import Shapes, backbone_shapes, sink_shapes
from nulls_dist.checkpoint.store import write_tensors
from nulls_dist.config.schema import ModelConfig
from nulls_dist.data.format import SOURCES_SCHEMA, TokenizerRecord
from nulls_dist.durable import record_file, sha256_file, write_json
from nulls_dist.routing.router import NUM_BUCKETS, buckets_of
from nulls_dist.self_checksum import with_checksum
from nulls_dist.sources import source_id_of
from nulls_dist.train.run import router_spec

CORPUS = "testwiki"
ROUTER_SEED = 7
NUM_PARTS = 2
TOKENIZER_FILE = f"{TOKENIZER_DIR}/tokenizer.json"


def tiny_model(**changes: object) -> ModelConfig:
    """2 layers of 24 backbone neurons and 2 experts of 32 sinks, 8 of them active."""
    fields: dict[str, object] = {
        "num_layers": 2,
        "hidden_size": 16,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 6,
        "num_backbone": 24,
        "num_experts": 2,
        "num_sinks": 32,
        "num_active": 8,
        "context_length": 32,
        "vocab_size": 30,
    }
    return ModelConfig(**(fields | changes))


def model_without_sinks() -> ModelConfig:
    """The same with 40 neurons instead, no sinks."""
    return tiny_model(num_backbone=40, num_sinks=0, num_active=0, sink_dropout=0.0)


def source_rows(titles: Iterable[str]) -> list[dict[str, object]]:
    """One plain source per title, keyed "k-0", "k-1", ... in order."""
    return [{"source_key": f"k-{number}", "title": title} for number, title in enumerate(titles)]


def numbered_rows(num_sources: int = 40) -> list[dict[str, object]]:
    """Sources titled "Title 00", "Title 01", ..."""
    return source_rows(f"Title {number:02d}" for number in range(num_sources))


def key_id(key: str) -> int:
    """Id of a source of the test corpus."""
    return source_id_of(CORPUS, key)


def write_source_table(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write sources.parquet; rows need a source_key and a title."""
    filled = []
    for place, row in enumerate(rows):
        number = key_id(str(row["source_key"]))
        bucket = int(buckets_of(np.array([number], dtype=np.uint64), router_seed=ROUTER_SEED)[0])
        defaults = {"aliases": [], "url": "", "revision": 0, "timestamp": "", "licence": "CC0"}
        defaults |= {"index": place, "grouping": ""}
        counts = {"num_documents": 1, "num_tokens": 10}
        filled.append({"source_id": number, "bucket": bucket, **defaults, **counts, **row})
    filled.sort(key=lambda row: row["source_id"])
    pq.write_table(pa.Table.from_pylist(filled, schema=SOURCES_SCHEMA), path)


def write_tokenizer(path: Path) -> TokenizerRecord:
    """Write a byte-pair tokenizer of 29 tokens: a to z, the word separator, one merge, the end."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = {token: number for number, token in enumerate(["</s>", "_", *letters, "th"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[("t", "h")]))
    tokenizer.add_special_tokens(["</s>"])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return TokenizerRecord(
        kind="hf",
        file=TOKENIZER_FILE,
        sha256=sha256_file(path),
        vocab_size=len(vocabulary),
        eos_id=vocabulary["</s>"],
    )


def build_checkpoint(
    root: Path,
    *,
    model: ModelConfig | None = None,
    step: int = 100,
    dtype: torch.dtype = torch.float32,
    rows: Iterable[Mapping[str, object]] = (),
    tombstones: tuple[Tombstone, ...] = (),
    private_sources: Iterable[int] = (),
    tokenizer: Callable[[Path], TokenizerRecord] | None = None,
) -> Path:
    """Write a checkpoint of random values; return its directory."""
    model = model or tiny_model()
    values = torch.Generator().manual_seed(1)
    cuts = random.Random(2)
    _write_part(root, None, backbone_shapes(model), dtype, values, cuts)
    for expert in model.sink_experts:
        _write_part(root, expert, sink_shapes(model), dtype, values, cuts)
    write_source_table(root / SOURCES_FILE, list(rows) or numbered_rows())
    record = (tokenizer or write_tokenizer)(root / TOKENIZER_FILE)
    write_json(root / RUN_FILE, {"preset": "test"})
    write_json(root / DATA_FILE, {"row": step})
    write_manifest(root, model, step, record, tombstones, private_sources)
    return root


def write_manifest(
    root: Path,
    model: ModelConfig,
    step: int,
    tokenizer: TokenizerRecord,
    tombstones: tuple[Tombstone, ...] = (),
    private_sources: Iterable[int] = (),
) -> None:
    """Record whatever lies in a directory as a checkpoint."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    manifest = CheckpointManifest(
        step=step,
        model=asdict(model),
        router=router_spec(model, ROUTER_SEED),
        bucket_table=(np.arange(NUM_BUCKETS) % model.num_experts).astype(np.uint16),
        private_sources=tuple(sorted(private_sources)),
        corpus={"corpus": CORPUS, "router_seed": ROUTER_SEED},
        tokenizer=asdict(tokenizer),
        tombstones=tombstones,
        files=tuple(record_file(root, name) for name in names if name != MANIFEST_FILE),
    )
    write_json(root / MANIFEST_FILE, manifest.to_dict())


def edit_manifest(root: Path, **changes: object) -> None:
    """Replace top-level fields of a manifest, and its checksum of itself accordingly."""
    path = root / MANIFEST_FILE
    path.write_text(json.dumps(with_checksum(json.loads(path.read_text()) | changes)))


def rewrite_tensors(
    root: Path, file: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    """Replace the tensors of one file and its record in the manifest."""
    write_tensors(root / file, change(load_file(root / file)))
    manifest = json.loads((root / "manifest.json").read_text())
    files = [
        asdict(record_file(root, file)) if record["path"] == file else record
        for record in manifest["files"]
    ]
    edit_manifest(root, files=files)


def _write_part(
    root: Path,
    expert: int | None,
    shapes: Shapes,
    dtype: torch.dtype,
    values: torch.Generator,
    cuts: random.Random,
) -> None:
    """Write weights, and optimizer state cut at odd places into parts."""
    masters = {name: 0.3 * torch.randn(shape, generator=values) for name, shape in shapes.items()}
    file = backbone_weights_file(0) if expert is None else sink_weights_file(expert)
    write_tensors(root / file, {name: master.to(dtype) for name, master in masters.items()})
    parts: list[dict[str, Tensor]] = [{} for _ in range(NUM_PARTS)]
    for name, master in masters.items():
        size = master.numel()
        borders = [0, *sorted(cuts.sample(range(1, size), 2)), size]
        for kind in OPTIMIZER_KINDS:
            state = master.flatten()
            if kind != "master":
                state = torch.rand(size, generator=values)
            for number in range(3):
                begin, end = borders[number : number + 2]
                part = parts[number % NUM_PARTS]
                key = FragmentKey(kind=kind, name=name, start=begin)
                part[str(key)] = state[begin:end].clone()
    for number, tensors in enumerate(parts):
        if expert is None:
            write_tensors(root / backbone_optimizer_file(number), tensors)
        else:
            write_tensors(root / sink_optimizer_file(expert, number), tensors)
