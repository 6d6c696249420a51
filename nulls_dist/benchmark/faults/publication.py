"""Crashes in the middle of every way in which this project publishes files.

The operations of one publication are recorded while the project's own code does it on real files;
then a reader looks at what every crash would have left.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from safetensors.torch import load_file

from nulls_dist import durable
from nulls_dist.benchmark.faults.crashes import kills, power_losses, read_after
from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.recorder import Recorder
from nulls_dist.benchmark.faults.workshop import (
    Digests,
    Workshop,
    digests_by_step,
    newest_step,
    train_undisturbed,
)
from nulls_dist.checkpoint.format import DATA_FILE
from nulls_dist.checkpoint.parts import collect_parts, open_partial, write_part
from nulls_dist.checkpoint.store import step_directory
from nulls_dist.config.overrides import apply_overrides
from nulls_dist.config.presets import load_preset
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import IntegrityError
from nulls_dist.parallel.groups import Groups
from nulls_dist.parallel.topology import resolve_topology
from nulls_dist.train.checkpointing import LATEST_FILE, publish_checkpoint
from nulls_dist.train.retention import Retention
from nulls_dist.train.run import Run, assemble_run

_POWER_LOSSES: Final = 500
"""Of each publication."""
_OLD, _NEW = 1, 2
_SETTINGS: Final = {
    "train.steps": _NEW,
    "train.save_every": 1,
    "train.eval_every": 0,
    "model.num_sinks": 16,  # small, because it is written anew after every crash
}
_NUM_RANKS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """One thing that is published."""

    name: str
    promise: str
    prepare: Callable[[Path], None]
    """Makes the tree as it was before, in an empty directory."""
    publish: Callable[[Path], None]
    read: Callable[[Path, bool], Sequence[str]]
    """As `crashes.Reader`."""


def crash_publications(shop: Workshop) -> list[Fault]:
    """Crash every publication after every operation, and lose power at random."""
    source = shop.work / "published"
    whole = train_undisturbed(shop, source.name, _SETTINGS)
    return [
        fault
        for publication in _publications(shop, source, whole.digests)
        for fault in _crash(publication, shop)
    ]


def _crash(publication: Publication, shop: Workshop) -> list[Fault]:
    tree, after = shop.work / "tree", shop.work / "after-crash"
    tree.mkdir()
    publication.prepare(tree)
    recorder = Recorder(tree)
    with recorder.recording():
        publication.publish(tree)
    recorder.acknowledge()
    shutil.rmtree(tree)
    start, operations = recorder.start, recorder.operations
    killed = Fault(
        fault=f"killed after every file operation: {publication.name}", promise=publication.promise
    )
    lost = Fault(
        fault=f"power lost, unflushed writes gone or torn: {publication.name}",
        promise=publication.promise,
    )
    read_after(kills(start, operations), publication.read, killed, after)
    count = scaled(_POWER_LOSSES, shop.share)
    read_after(power_losses(start, operations, count=count, seed=0), publication.read, lost, after)
    return [killed, lost]


def _publications(shop: Workshop, source: Path, digests: dict[int, Digests]) -> list[Publication]:
    def copy(*steps: int) -> Callable[[Path], None]:
        def prepare(tree: Path) -> None:
            for step in steps:
                shutil.copytree(step_directory(source, step), step_directory(tree / "run", step))
            durable.write_text(tree / "run" / LATEST_FILE, f"{max(steps)}\n")

        return prepare

    def read(tree: Path, is_acknowledged: bool, *, at_least: int) -> list[str]:
        return _read_run(tree / "run", digests, at_least=_NEW if is_acknowledged else at_least)

    def publish(tree: Path) -> None:
        durable.make_directory(tree / "run")
        _publish(shop, source, tree / "run")

    def remove(tree: Path) -> None:
        Retention(tree / "run", keep_last=1).after_checkpoint(
            step_directory(tree / "run", _NEW), _NEW
        )

    return [
        Publication(
            name="a checkpoint after another one",
            promise="the old or the new checkpoint, complete; the new one once acknowledged",
            prepare=copy(_OLD),
            publish=publish,
            read=lambda tree, told: read(tree, told, at_least=_OLD),
        ),
        Publication(
            name="the first checkpoint of a run",
            promise="none or the whole checkpoint; the checkpoint once acknowledged",
            prepare=lambda tree: None,
            publish=publish,
            read=lambda tree, told: read(tree, told, at_least=0),
        ),
        Publication(
            name="an old checkpoint removed",
            promise="every checkpoint that is listed is whole, the newest one is there",
            prepare=copy(_OLD, _NEW),
            publish=remove,
            read=lambda tree, told: read(tree, told, at_least=_NEW),
        ),
        Publication(
            name="one file replaced",
            promise="the old or the new contents; the new ones once acknowledged",
            prepare=lambda tree: durable.write_text(tree / "file", _text(_OLD)),
            publish=lambda tree: durable.write_text(tree / "file", _text(_NEW)),
            read=lambda tree, told: _read_file(tree / "file", told),
        ),
        Publication(
            name="a directory of a tool (release, corpus, stripped checkpoint)",
            promise="nothing or the whole directory; the directory once acknowledged",
            prepare=lambda tree: None,
            publish=lambda tree: _build_directory(tree / "out"),
            read=lambda tree, told: _read_directory(tree / "out", told),
        ),
    ]


def _publish(shop: Workshop, source: Path, run_dir: Path) -> None:
    """Save a checkpoint's tensors anew, as the ranks that wrote it did."""
    saved, final = step_directory(source, _NEW), step_directory(run_dir, _NEW)
    parts: list[dict[str, Any]] = [{} for _ in range(_NUM_RANKS)]
    for path in sorted(saved.rglob("*.safetensors")):
        rank = int("0001" in path.name)  # the second one's files: expert 1, part 1
        parts[rank][path.relative_to(saved).as_posix()] = load_file(path)
    partial = open_partial(final)
    for rank in reversed(range(_NUM_RANKS)):
        write_part(partial, rank, parts[rank])
    records = collect_parts(partial, _NUM_RANKS, is_late=lambda: False)
    cursor = json.loads((saved / DATA_FILE).read_text(encoding="utf-8"))
    publish_checkpoint(_run_of(shop, run_dir), final, cursor, records)


def _run_of(shop: Workshop, run_dir: Path) -> Run:
    """Return the run as its first rank has it; nothing communicates here."""
    overrides = [f"{name}={value}" for name, value in _SETTINGS.items()]
    config = apply_overrides(load_preset("nulls_tiny"), overrides)
    topology = resolve_topology(config, world_size=_NUM_RANKS, rank=0)
    nobody = cast("Any", None)
    return assemble_run(
        config,
        run_dir=run_dir,
        corpus=Corpus(shop.corpus),
        groups=Groups(topology=topology, tensor_parallel=nobody, expert_parallel=nobody),
        checkpoint=None,
        allow_new_corpus=False,
    )


def _read_run(run_dir: Path, digests: dict[int, Digests], *, at_least: int) -> list[str]:
    newest = newest_step(run_dir)
    problems = [] if newest >= at_least else [f"newest step {newest}, not {at_least}"]
    try:
        found = digests_by_step(run_dir)
    except IntegrityError as error:
        return [*problems, str(error)]
    mixed = [step for step, content in found.items() if content != digests[step]]
    return [*problems, f"checkpoints of steps {mixed} are mixed"] if mixed else problems


def _text(number: int) -> str:
    return f"contents {number}\n" * 500


def _read_file(path: Path, is_acknowledged: bool) -> list[str]:
    allowed = {_text(_NEW)} if is_acknowledged else {_text(_OLD), _text(_NEW)}
    is_whole = path.is_file() and path.read_text(encoding="utf-8") in allowed
    return [] if is_whole else ["neither the old nor the new contents"]


def _build_directory(final: Path) -> None:
    with durable.new_directory(final) as partial:
        (partial / "inside").mkdir()
        for name in ("a", "b", "inside/c"):
            (partial / name).write_text(_text(_NEW), encoding="utf-8")


def _read_directory(final: Path, is_acknowledged: bool) -> list[str]:
    if not final.exists():
        return ["lost"] if is_acknowledged else []
    names = ("a", "b", "inside/c")
    return [f"{name}: {said}" for name in names for said in _read_file(final / name, True)]
