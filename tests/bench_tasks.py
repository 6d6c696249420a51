"""The harness's own tasks on items that lie in files, so that no network is needed."""

import lzma
from pathlib import Path

import lm_eval.tasks
import yaml

TASKS = {
    "arc_easy": ("arc/arc_easy.yaml", "arc_easy_validation"),
    "arc_challenge": ("arc/arc_challenge.yaml", "arc_challenge_validation"),
    "piqa": ("piqa/piqa.yaml", "piqa_validation"),
    "sciq": ("sciq/sciq.yaml", "sciq_validation"),
    "winogrande": ("winogrande/default.yaml", "winogrande_xl_validation"),
}


def write_task(folder: Path, name: str, items: Path, **fields: object) -> None:
    """Write a task file whose items are JSON lines."""
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {"validation": str(items)},
            "cache_dir": str(folder / "cache"),
        },
        "training_split": None,
        "validation_split": "validation",
        "test_split": None,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task | fields), encoding="utf-8")


def write_bench_tasks(folder: Path, bench: Path) -> list[str]:
    """Write all tasks whose items lie in `bench`; return their names."""
    names = []
    for name, (definition, stem) in TASKS.items():
        items = folder / f"{stem}.jsonl"
        items.write_bytes(lzma.decompress((bench / f"{stem}.jsonl.xz").read_bytes()))
        path = Path(lm_eval.tasks.__file__).parent / definition
        write_task(folder, f"local_{name}", items, include=str(path))
        names.append(f"local_{name}")
    return names
