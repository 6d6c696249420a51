"""Numbers that are none, and checkpoints, corpora and tokenizers that do not belong together."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any, Final

from nulls_dist import durable
from nulls_dist.benchmark.faults.outcome import Fault, scaled
from nulls_dist.benchmark.faults.workshop import Workshop, build_corpus, train_undisturbed
from nulls_dist.checkpoint.contents import read_state
from nulls_dist.checkpoint.store import list_checkpoints, step_directory
from nulls_dist.data.corpus import Corpus
from nulls_dist.data.format import MANIFEST_FILE
from nulls_dist.errors import ConfigError, IntegrityError, NullsError
from nulls_dist.self_checksum import with_checksum
from nulls_dist.train.run_files import BAD_STEPS_FILE, LOG_DIR

_STEPS: Final = 8
_FIRST_BAD: Final = 3
_TOLERATED: Final = 1
_NUM_STRANGERS: Final = 5


def refuse_runs(shop: Workshop) -> list[Fault]:
    """Spoil steps, and resume with what does not fit."""
    settings = {"train.steps": _STEPS, "train.save_every": 1}
    train_undisturbed(shop, "to-be-resumed", settings, num_ranks=1)
    checkpoint = step_directory(shop.work / "to-be-resumed", _STEPS)
    return [_spoil_steps(shop), _refuse_strangers(shop, checkpoint)]


def _spoil_steps(shop: Workshop) -> Fault:
    """Make one step, and all steps from one on, not finite in three places."""
    fault = Fault(
        fault="NaN or infinity in loss, gradient, batch; in one step, in all from one on",
        promise="one: skipped by all ranks, its documents recorded, the run goes on; more than "
        "train.max_bad_steps: exit code 1; no checkpoint has a value that is not finite",
    )
    cases = list(product((2, 1), ("loss", "gradient", "batch"), (_FIRST_BAD, _STEPS)))
    for num_ranks, what, last in cases[: scaled(len(cases), shop.share)]:
        poison = dict.fromkeys(range(_FIRST_BAD, last + 1), (what, num_ranks - 1))
        problems = _train_spoiled(shop, poison, num_ranks)
        fault.record(problems, place=f"{what}, steps {_FIRST_BAD} to {last}, {num_ranks} ranks")
    return fault


def _train_spoiled(shop: Workshop, poison: dict[int, tuple[str, int]], num_ranks: int) -> list[str]:
    run_dir = shop.work / "spoiled"
    settings = {
        "train.steps": _STEPS,
        "train.save_every": 1,
        "train.max_bad_steps": _TOLERATED,
    }
    arguments = shop.arguments(run_dir, settings)
    job = shop.start(arguments, run_dir, num_ranks=num_ranks, poison=poison)
    codes = job.wait()
    is_tolerated = len(poison) <= _TOLERATED
    expected = [0 if is_tolerated else NullsError.exit_code] * num_ranks
    problems = [] if codes == expected else [f"exit codes {codes}: {job.said()[-500:]}"]
    bad = [json.loads(line) for line in _lines(run_dir / LOG_DIR / BAD_STEPS_FILE)]
    steps = list(range(_FIRST_BAD, _FIRST_BAD + min(len(poison), _TOLERATED + 1)))
    if [record["step"] for record in bad] != steps:
        problems.append(f"bad steps recorded: {[record['step'] for record in bad]}")
    if not all(rank["documents"] for record in bad for rank in record["ranks"]):
        problems.append("a bad step without its documents")
    problems += [
        f"{path.name} has values that are not finite"
        for path in list_checkpoints(run_dir)
        if not all(bool(values.isfinite().all()) for values in read_state(path).values())
    ]
    shutil.rmtree(run_dir)
    return problems


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stranger:
    """Something that does not belong to the checkpoint."""

    what: str
    corpus: Path
    checkpoint: Path
    code: int
    named: Sequence[str]
    """Both values, his and ours."""
    resume: str = "CKPT"
    """How the run continues: a checkpoint in a new directory, or auto in its own."""


def _refuse_strangers(shop: Workshop, checkpoint: Path) -> Fault:
    fault = Fault(
        fault="resumed with another corpus, tokenizer, router seed or router version",
        promise="refused before the first step with the promised exit code, both values named",
    )
    for stranger in islice(_strangers(shop, checkpoint), scaled(_NUM_STRANGERS, shop.share)):
        fault.record(_refuse(shop, stranger), place=stranger.what)
    return fault


def _refuse(shop: Workshop, stranger: _Stranger) -> list[str]:
    run_dir = shop.work / "refused"
    options = []
    if stranger.resume == "auto":
        shutil.copytree(stranger.checkpoint.parents[1], run_dir)
    else:
        options = [f"--resume={stranger.checkpoint}"]
    before = _lines(run_dir / "metrics.jsonl")
    settings = {"train.steps": _STEPS + 1}
    arguments = shop.arguments(run_dir, settings, *options, corpus=stranger.corpus)
    job = shop.start(arguments, run_dir, num_ranks=1)
    (code,) = job.wait()
    said = job.said()
    problems = [] if code == stranger.code else [f"exit code {code}: {said[-500:]}"]
    missing = [value for value in stranger.named if value not in said]
    if missing:
        problems.append(f"does not name {missing}: {said[-500:]}")
    if _lines(run_dir / "metrics.jsonl") != before:
        problems.append("trained")
    shutil.rmtree(run_dir, ignore_errors=True)
    return problems


def _strangers(shop: Workshop, checkpoint: Path) -> Iterator[_Stranger]:
    """Yield the cases, the quickly made ones first."""

    def edited(root: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        copy = shutil.copytree(root, shop.work / name)
        content = durable.read_json(copy / MANIFEST_FILE)
        change(content)
        durable.write_json(copy / MANIFEST_FILE, with_checksum(content))
        return copy

    yield _Stranger(
        what="corpus of another router version",
        corpus=edited(
            shop.corpus, "other-version", lambda content: content.update(router_version=2)
        ),
        checkpoint=checkpoint,
        code=IntegrityError.exit_code,
        named=["router_version (2)", "must be 1"],
    )
    yield _Stranger(
        what="checkpoint of another router version",
        corpus=shop.corpus,
        checkpoint=edited(
            checkpoint, "other-checkpoint", lambda content: content["router"].update(version=2)
        ),
        code=IntegrityError.exit_code,
        named=["router version 2 is not 1"],
    )
    ours = Corpus(shop.corpus).manifest
    seed = ours.router_seed
    yield _Stranger(
        what="other router seed",
        corpus=edited(
            shop.corpus, "other-seed", lambda content: content.update(router_seed=seed + 1)
        ),
        checkpoint=checkpoint,
        code=ConfigError.exit_code,
        named=[f"router_seed ({seed + 1})", f"({seed})"],
    )
    other_texts, other_tokenizer = shop.work / "other-texts", shop.work / "other-tokenizer"
    build_corpus(other_texts, articles=30, tokenizer=shop.corpus / ours.tokenizer.file)
    yield _Stranger(
        what="other texts, the run continued",
        corpus=other_texts,
        checkpoint=checkpoint,
        code=ConfigError.exit_code,
        named=[Corpus(path).fingerprint for path in (shop.corpus, other_texts)],
        resume="auto",
    )
    build_corpus(other_tokenizer, articles=40)
    yield _Stranger(
        what="other tokenizer",
        corpus=other_tokenizer,
        checkpoint=checkpoint,
        code=ConfigError.exit_code,
        named=[ours.tokenizer.sha256, Corpus(other_tokenizer).manifest.tokenizer.sha256],
    )
