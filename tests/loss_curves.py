"""Loss curves of short runs: the commands that make them, and the file that keeps them.

`python -m tests.loss_curves` makes tests/golden/loss_curves.json anew; CONTRIBUTING.md says when.
"""

import hashlib
import json
import platform
import shlex
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from data_prep.build import main as build
from nulls_dist import durable
from nulls_dist.data.corpus import Corpus
from nulls_dist.pretrain import main as pretrain
from tests.checkpoint_contents import read_metrics

GOLDEN = Path(__file__).parent / "golden" / "loss_curves.json"
CORPUS = (
    "--input generated --format generated --name golden --articles 32 --renderings 4 --seed 0 "
    "--tokenizer train:bpe:400 --partitions 4 --workers 1"
)
TINY = (
    "--preset nulls_tiny --seed 0 --set train.steps=30 --set train.save_every=30 "
    "--set train.eval_every=0"
)
RUNS = {
    "nulls_tiny": TINY,
    "nulls_tiny_active_control": f"{TINY} --control active",
    "nulls_tiny_total_control": f"{TINY} --control total",
}
TOLERANCE = 1e-5
REASON = """\
Processors round differently. On an AMD EPYC, with ATen and oneDNN limited to AVX-512, AVX2 or SSE \
4.1, and with one thread or two, the losses of all 30 steps differed by at most 4e-7 of their \
value; the tolerance is 25 times that. A learning rate changed by 0.01 % differs by 5e-4, a \
weight decay changed by 1 % by 1.2e-5. On one machine two runs are equal to the last bit."""
PACKAGES = ("torch", "deepspeed", "megatron-core", "numpy", "sentencepiece")


def build_golden_corpus(out: Path) -> Path:
    """Build the corpus of all curves."""
    build([*shlex.split(CORPUS), "--out", str(out)])
    return out


def digest_of(corpus: Corpus) -> str:
    """Return a checksum of what is trained on, whatever wrote the files: sources and tokens."""
    digest = hashlib.sha256()
    for values in (corpus.source_ids, corpus.doc_indices, corpus.lengths):
        digest.update(np.asarray(values, "<u8").tobytes())
    for number in range(len(corpus.source_ids)):
        digest.update(np.asarray(corpus.tokens(number), "<u8").tobytes())
    return digest.hexdigest()


def record_curve(name: str, corpus: Path, run_dir: Path) -> list[float]:
    """Train in this process; return the loss of every step in nats."""
    pretrain([*shlex.split(RUNS[name]), "--data", str(corpus), "--run-dir", str(run_dir)])
    return [line["train/loss_nats"] for line in read_metrics(run_dir)]


def write_golden() -> None:
    """Record all curves on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = build_golden_corpus(Path(folder) / "corpus")
        curves = {name: record_curve(name, corpus, Path(folder) / name) for name in RUNS}
        digest = digest_of(Corpus(corpus))
    content = {
        "what": "train/loss_nats of every step, one process, fp32 on a CPU",
        "made_by": "python -m tests.loss_curves",
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "relative_tolerance": TOLERANCE,
        "why_this_tolerance": REASON,
        "corpus": {
            "command": f"python -m data_prep.build {CORPUS} --out CORPUS",
            "sha256_of_sources_and_tokens": digest,
        },
        "runs": {
            name: {
                "command": f"python -m nulls_dist.pretrain {RUNS[name]} --data CORPUS --run-dir R",
                "loss_nats": curve,
            }
            for name, curve in curves.items()
        },
    }
    durable.write_text(GOLDEN, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
