"""Files of a checkpoint or corpus that changed after they were written: found before they are used.

What looks for damage is what runs before anything is used: `verify_checkpoint.py` for a checkpoint,
the comparison of all files before the first step for a corpus. A smaller number of damaged trees is
given to the training command itself.
"""

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import Workshop, train_undisturbed
from nulls_dist.checkpoint.completeness import check_tensors
from nulls_dist.checkpoint.store import Checkpoint, step_directory
from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import InputError, IntegrityError

_FLIPS: Final = 1000
_STEPS: Final = 2
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """A checkpoint or corpus."""

    kind: str
    root: Path
    verify: Callable[[Path], object]
    """Raises where it finds damage."""

    def classes(self) -> dict[str, list[Path]]:
        """Return the files by what they are: names that differ in numbers only are one class."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                name = path.relative_to(self.root).as_posix()
                found.setdefault(f"{self.kind} {re.sub('[0-9]+', 'N', name)}", []).append(path)
        return found

    def problems(self, culprits: Sequence[Path]) -> list[str]:
        """Verify; say what is wrong with the answer.

        Args:
            culprits: files of which one must be named.
        """
        try:
            self.verify(self.root)
        except (InputError, IntegrityError) as error:
            is_named = any(path.name in str(error) for path in culprits)
            return [] if is_named else [f"found, but not named: {error}"]
        return ["not found"]


def damage_files(shop: Workshop) -> list[Fault]:
    """Damage checkpoints and corpora in many ways."""
    trees = _make_trees(shop)
    faults = [_flip_bits(trees, scaled(_FLIPS, shop.share)), _cut(trees)]
    faults += [_remove(trees), _rename(trees), _swap(trees), _add(trees)]
    return [*faults, _train_on_damage(shop, trees)]


def _make_trees(shop: Workshop) -> list[_Tree]:
    settings = {"train.steps": _STEPS, "train.save_every": _STEPS}
    train_undisturbed(shop, "run-to-be-damaged", settings)
    saved = step_directory(shop.work / "run-to-be-damaged", _STEPS)
    # Copies: the two share the tokenizer's file by a hard link.
    checkpoint = shutil.copytree(saved, shop.work / "checkpoint-to-be-damaged")
    corpus = shutil.copytree(shop.corpus, shop.work / "corpus-to-be-damaged")
    return [
        _Tree(kind="checkpoint", root=checkpoint, verify=_verify_checkpoint),
        _Tree(kind="corpus", root=corpus, verify=lambda root: Corpus(root).check_contents()),
    ]


def _verify_checkpoint(root: Path) -> None:
    """Check what `verify_checkpoint.py` checks of files."""
    checkpoint = Checkpoint(root)
    for _ in checkpoint.verify():
        pass
    check_tensors(checkpoint)


def _flip_bits(trees: Sequence[_Tree], count: int) -> Fault:
    fault = Fault(
        fault="one bit flipped, all classes of files in turn",
        promise="found before use, the file named; or the file still says the same",
    )
    classes = [(tree, name, paths) for tree in trees for name, paths in tree.classes().items()]
    fault.count("classes of files", len(classes))
    fault.count("flips that left a manifest's values as they were", 0)
    draws = random.Random("bit flips")
    for number in range(count):
        tree, name, paths = classes[number % len(classes)]
        path = draws.choice(paths)
        place, bit = draws.randrange(path.stat().st_size), draws.randrange(8)
        with _changed(path) as content:
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            problems = tree.problems([path])
            if problems and _says_the_same(path, content, bytes(damaged)):
                fault.count("flips that left a manifest's values as they were")
                problems = []
        fault.record(problems, place=f"{name}, bit {bit} of byte {place}")
    return fault


def _says_the_same(path: Path, before: bytes, now: bytes) -> bool:
    """Say whether two manifests have equal values: 1e-5 and 1E-5 are one bit apart."""
    if path.name != _MANIFEST:
        return False
    try:
        return bool(json.loads(before) == json.loads(now))
    except ValueError:
        return False


def _cut(trees: Sequence[_Tree]) -> Fault:
    fault = Fault(fault="file truncated", promise="found before use, the file named")
    draws = random.Random("cuts")
    for tree, name, path in _one_of_each(trees, draws):
        with _changed(path) as content:
            size = len(content)
            lengths = [0, 1, size // 2, size - 2, draws.randrange(size - 1)]
            for length in lengths:
                path.write_bytes(content[:length])
                fault.record(tree.problems([path]), place=f"{name} cut to {length} bytes")
    return fault


def _remove(trees: Sequence[_Tree]) -> Fault:
    fault = Fault(fault="file missing", promise="found before use, the file named")
    for tree, name, path in _all_files(trees):
        with _changed(path):
            path.unlink()
            fault.record(tree.problems([path]), place=name)
    return fault


def _rename(trees: Sequence[_Tree]) -> Fault:
    fault = Fault(fault="file renamed", promise="found before use, one of the names given")
    for tree, name, path in _all_files(trees):
        other = path.with_name(f"renamed-{path.name}")
        with _changed(path):
            path.rename(other)
            fault.record(tree.problems([path, other]), place=name)
            other.unlink()
    return fault


def _swap(trees: Sequence[_Tree]) -> Fault:
    fault = Fault(
        fault="two files of a class swapped", promise="found before use, one of them named"
    )
    for tree in trees:
        for paths in tree.classes().values():
            for first, second in pairwise(paths):
                with _changed(first) as one, _changed(second) as two:
                    first.write_bytes(two)
                    second.write_bytes(one)
                    place = f"{first.name} and {second.name}"
                    fault.record(tree.problems([first, second]), place=place)
    return fault


def _add(trees: Sequence[_Tree]) -> Fault:
    fault = Fault(
        fault="file added to a checkpoint",
        promise="found by verification, the file named (a corpus's readers open listed files only)",
    )
    (tree,) = (tree for tree in trees if tree.kind == "checkpoint")
    folders = [tree.root, *(path for path in sorted(tree.root.rglob("*")) if path.is_dir())]
    for folder in folders:
        stray = folder / "stray.safetensors"
        stray.write_bytes(b"x")
        fault.record(tree.problems([stray]), place=str(stray.relative_to(tree.root)))
        stray.unlink()
    return fault


def _train_on_damage(shop: Workshop, trees: Sequence[_Tree]) -> Fault:
    """Start the training command on a bit flip in each class."""
    fault = Fault(
        fault="one bit flipped in each class, then the training command",
        promise="exit code 5 and the file named, nothing trained; a checkpoint's tokenizer, which "
        "training does not read, does not matter",
    )
    draws = random.Random("training on damage")
    classes = [(tree, name, paths) for tree in trees for name, paths in tree.classes().items()]
    for tree, name, paths in classes[: scaled(len(classes), shop.share)]:
        path = draws.choice(paths)
        run_dir = shop.work / "on-damage"
        options = [f"--resume={tree.root}"] if tree.kind == "checkpoint" else []
        corpus = tree.root if tree.kind == "corpus" else shop.corpus
        settings = {"train.steps": _STEPS + 1}
        arguments = shop.arguments(run_dir, settings, *options, corpus=corpus)
        with _changed(path) as content:
            place = draws.randrange(len(content))
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            job = shop.start(arguments, run_dir, num_ranks=1)
            (code,) = job.wait()
        is_unused = tree.kind == "checkpoint" and path.parent.name == "tokenizer"
        problems = []
        if code != (0 if is_unused else IntegrityError.exit_code):
            problems.append(f"exit code {code}: {job.said()[-500:]}")
        if not is_unused and path.name not in job.said():
            problems.append(f"not named: {job.said()[-500:]}")
        if not is_unused and (run_dir / "metrics.jsonl").exists():
            problems.append("trained on it")
        fault.record(problems, place=name)
        shutil.rmtree(run_dir, ignore_errors=True)
    return fault


def _all_files(trees: Sequence[_Tree]) -> Iterator[tuple[_Tree, str, Path]]:
    for tree in trees:
        for name, paths in tree.classes().items():
            for path in paths:
                yield tree, name, path


def _one_of_each(trees: Sequence[_Tree], draws: random.Random) -> Iterator[tuple[_Tree, str, Path]]:
    for tree in trees:
        for name, paths in tree.classes().items():
            yield tree, name, draws.choice(paths)


@contextmanager
def _changed(path: Path) -> Iterator[bytes]:
    """Yield a file's contents and put them back after the block."""
    content = path.read_bytes()
    try:
        yield content
    finally:
        path.write_bytes(content)
