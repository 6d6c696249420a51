"""The directory of one benchmark: what lies where, and what is done already.

    DIR/benchmark.json                the size and its preset, resolved; the directory is for these
    DIR/seed-0/texts                  real text: articles as the corpora take them, see `real_world`
    DIR/seed-0/world                  corpus of all sources, also of those no model is trained on
    DIR/seed-0/corpus                 what models are trained on
    DIR/seed-0/corpus-without         what retrained models are trained on
    DIR/seed-0/groups.json            ids of the deleted, kept (those that are asked) and unseen
    DIR/seed-0/runs/ARM               a training
    DIR/seed-0/deleted/GRADE          nulls' checkpoint, suppressed or excised
    DIR/seed-0/steps/STEP.json        record of a step that is done: seconds and what it reports
    DIR/seed-0/logs/STEP.txt          what its commands said
    DIR/answers, documents, sources   Parquet tables, see `tables`
    DIR/results.json                  see `results`
    DIR/attacks.json                  see `attack_results`
    DIR/curves, curves.json           tables after deletions of many sizes, see `curve_results`
    DIR/sweeps, sweeps.json           directories like this one, see `sweep` and `sweep_results`
    DIR/rivals, rivals.json           tables of rival methods, see `rival_results`
    DIR/seed-0/rivals/METHOD          what a rival method made of the dense model
    DIR/report.html                   what they say, see `page`

A step is done once: its record is written when all else of it is, and a step with a record is not
repeated. What was killed continues when the same command is run again.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.commands import Commands
from nulls_dist.benchmark.unlearning.sizes import Arm, Size
from nulls_dist.checkpoint.store import list_checkpoints
from nulls_dist.config.flatten import flatten
from nulls_dist.config.presets import PRESETS
from nulls_dist.errors import InputError

TRAINED: Final = "trained"
SUPPRESSED: Final = "suppressed"
EXCISED: Final = "excised"

_SIZE_FILE: Final = "benchmark.json"
RESULTS_FILE: Final = "results.json"


class Lab:
    """An opened directory.

    Attributes:
        root: the directory.
        size: how much its benchmark does.
        commands: runs the project's commands.
    """

    def __init__(self, root: Path, size: Size, commands: Commands) -> None:
        self.root = root
        self.size = size
        self.commands = commands

    def seed_dir(self, seed: int) -> Path:
        """Return where everything of a seed lies."""
        return self.root / f"seed-{seed}"

    def world(self, seed: int) -> Path:
        """Return the corpus of all sources, with renderings that no model is trained on."""
        return self.seed_dir(seed) / "world"

    def corpus(self, seed: int, *, is_retrained: bool = False) -> Path:
        """Return what models are trained on, or what retrained ones are."""
        return self.seed_dir(seed) / ("corpus-without" if is_retrained else "corpus")

    def run_dir(self, seed: int, arm: Arm) -> Path:
        """Return the run directory of a training."""
        return self.seed_dir(seed) / "runs" / arm.name

    def checkpoint(self, seed: int, arm: Arm, name: str = TRAINED) -> Path:
        """Return a checkpoint: that of a training that is done, or one made by a deletion.

        Args:
            seed: the seed.
            arm: the model.
            name: TRAINED, or SUPPRESSED or EXCISED of a model with sinks.
        """
        if name == TRAINED:
            return list_checkpoints(self.run_dir(seed, arm))[-1]
        return self.seed_dir(seed) / "deleted" / name

    def log(self, seed: int, step: str) -> Path:
        """Return the file for what a step's commands say."""
        path = self.seed_dir(seed) / "logs" / f"{step}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def table(self, kind: str, name: str) -> Path:
        """Return the file of a table.

        Args:
            kind: answers, documents or sources.
            name: of the part: the tables of a kind are read as one.
        """
        path = self.root / kind / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def record(self, seed: int, step: str) -> Path:
        """Return the file that says that a step is done."""
        return self.seed_dir(seed) / "steps" / f"{step}.json"

    def once(self, seed: int, step: str, do: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Do a step unless it is done.

        Args:
            seed: the seed.
            step: its name.
            do: returns JSON-ready values to record. It may find what a killed one left behind.

        Returns:
            The record: those values, and "seconds".
        """
        path = self.record(seed, step)
        if not path.is_file():
            self.commands.say(f"seed {seed}: {step}")
            started = time.monotonic()
            found = dict(do())
            seconds = round(time.monotonic() - started, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write_json(path, {**found, "seconds": seconds})
            self.commands.say(f"seed {seed}: {step} took {seconds:.0f} s")
        record: dict[str, Any] = durable.read_json(path)
        return record


def begin_lab(root: Path, size: Size) -> Lab:
    """Open the directory of a benchmark, a new one or one that was begun with the same size.

    Raises:
        InputError: it was begun with another size or another state of its preset, or by another
            version of this project, or is no benchmark's.
    """
    commands = Commands()
    file = root / _SIZE_FILE
    if file.is_file():
        check_same(open_lab(root), size)
    elif root.exists() and any(root.iterdir()):
        raise InputError(f"{root} exists and is no benchmark's directory; name another")
    else:
        root.mkdir(parents=True, exist_ok=True)
        durable.write_json(file, _describe(size))
    return Lab(root, size, commands)


def open_lab(root: Path) -> Lab:
    """Open the directory of a benchmark that was begun.

    Raises:
        InputError: there is none, or another version of this project began it.
    """
    file = root / _SIZE_FILE
    if not file.is_file():
        raise InputError(
            f"{root} is no benchmark's directory, as {file.name} is not there; name the --out of a "
            "'python -m nulls_dist.benchmark run' (its published records alone do not suffice)"
        )
    try:
        size = Size(**durable.read_json(file)["size"])
    except (KeyError, TypeError):
        size = None
    if size is None or size.preset not in PRESETS:
        raise InputError(f"{file}: another version of this project began it; name another --out")
    return Lab(root, size, Commands())


def check_same(lab: Lab, size: Size) -> None:
    """Refuse to train models that could not be compared with those that are there.

    Args:
        lab: a benchmark.
        size: what would decide the models, with its preset as it is in this version.

    Raises:
        InputError: the size or the preset's content is another than when the benchmark was begun.
    """
    begun = durable.read_json(lab.root / _SIZE_FILE) | {"size": lab.size.to_dict()}
    for part, content in _describe(size).items():
        was, now = dict(flatten(begun[part])), dict(flatten(content))
        differing = [name for name in {**was, **now} if was.get(name) != now.get(name)]
        if differing:
            changes = "; ".join(
                f"{part}.{name} was {was.get(name)!r}, now {now.get(name)!r}" for name in differing
            )
            raise InputError(
                f"{lab.root} was begun for other models ({changes}); name another --out, or "
                "continue with the size and the version that began it"
            )


def _describe(size: Size) -> dict[str, Any]:
    """Return all that decides which models a benchmark trains."""
    return {"size": size.to_dict(), "preset": PRESETS[size.preset]().to_dict()}
