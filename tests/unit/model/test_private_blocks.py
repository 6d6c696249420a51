"""A run with private sources from the command line: excising one changes no other source's logits.

The sources are publishers of several documents each: what is private here is a whole group.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from data_prep.build import main as build
from nulls_dist.checkpoint.format import sink_tensor, sink_weights_file
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.pretrain import main as pretrain
from nulls_dist.routing.sink_sets import sinks_of
from nulls_dist.sources import NO_SOURCE, source_id_of
from nulls_dist.unlearn.plan import live_router, open_sources
from tests.checkpoint_contents import check_equal_contents
from tests.launch import pretrain_arguments
from tools import strip_sources

NUM_PUBLISHERS, TEXTS_EACH, STEPS = 16, 4, 4
USAGE, UNKNOWN = 2, 4
TEXT = list(range(3, 21))

Settings = dict[str, object]


def publisher_id(number: int) -> int:
    return source_id_of("news", f"Press {number:02d}")


PRIVATE = [publisher_id(3), publisher_id(8)]


def build_corpus(folder: Path, out: Path, *options: str, tokenizer: str = "") -> Path:
    tokenizer = tokenizer or str(next((folder / "corpus" / "tokenizer").iterdir()))
    places = [f"--input={folder / 'news.jsonl'}", f"--out={out}", f"--tokenizer={tokenizer}"]
    build([*places, "--format=jsonl", "--source-key=publisher", "--name=news", *options])
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and private.txt, which names two of its publishers."""
    folder = tmp_path_factory.mktemp("private")
    draws = np.random.default_rng(0)
    rows = [
        {
            "publisher": f"Press {number % NUM_PUBLISHERS:02d}",
            "text": " ".join(f"word{word}" for word in draws.integers(0, 300, 60)),
        }
        for number in range(NUM_PUBLISHERS * TEXTS_EACH)
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "news.jsonl").write_text(lines)
    build_corpus(folder, folder / "corpus", tokenizer="train:bpe:300")
    (folder / "private.txt").write_text("# two publishers\nPress 08\nkey:Press 03\n")
    return folder


@pytest.fixture(scope="module")
def settings(folder: Path) -> Settings:
    return {
        "train.steps": STEPS,
        "train.save_every": 2,
        "train.eval_every": 2,
        "sinks.private_sources": folder / "private.txt",
    }


@pytest.fixture(scope="module")
def run(folder: Path, settings: Settings) -> Path:
    """The run directory, uninterrupted."""
    pretrain(pretrain_arguments(folder / "corpus", folder / "run", settings))
    return folder / "run"


@pytest.fixture(scope="module")
def trained(run: Path) -> Path:
    return run / "checkpoints" / f"step-{STEPS:08d}"


def answers(root: Path, source_ids: list[int], *, route_deleted: bool = False) -> list[Tensor]:
    """Logits of one text, served by the sinks of each source."""
    with load_for_inference(root, route_deleted=route_deleted) as model:
        return model.logits([TEXT] * len(source_ids), source_ids)


def excise(root: Path, names: str, out: Path, limit: str) -> Path:
    (out.parent / "sources.txt").write_text(names)
    options = ["--out", str(out), "--max-collateral", limit]
    strip_sources.main([str(root), str(out.parent / "sources.txt"), *options])
    return out


def test_excising_a_private_source_leaves_every_other_sources_logits_unchanged_to_the_last_bit(
    trained: Path, tmp_path: Path
) -> None:
    everyone = [int(number) for number in open_sources(Checkpoint(trained)).source_ids]
    assert len(everyone) == NUM_PUBLISHERS
    gone, *others = PRIVATE[0], *(number for number in everyone if number != PRIVATE[0])
    stripped = excise(trained, "Press 03\n", tmp_path / "out", "0")
    before, after = answers(trained, [*others, NO_SOURCE]), answers(stripped, [*others, NO_SOURCE])
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    (on,) = answers(trained, [gone])
    (forced,) = answers(stripped, [gone], route_deleted=True)
    assert torch.equal(forced, before[-1]), "it answers as the backbone alone"
    assert not torch.equal(on, forced), "its block had learned something"


def test_excising_all_others_leaves_a_private_sources_logits_unchanged(
    trained: Path, tmp_path: Path
) -> None:
    numbers = [number for number in range(NUM_PUBLISHERS) if number not in (3, 8)]
    names = "".join(f"Press {number:02d}\n" for number in numbers)
    stripped = excise(trained, names, tmp_path / "out", "1")
    before, after = answers(trained, PRIVATE), answers(stripped, PRIVATE)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_every_checkpoint_knows_the_private_sources(run: Path) -> None:
    for step in (2, STEPS):
        manifest = Checkpoint(run / "checkpoints" / f"step-{step:08d}").manifest
        assert manifest.private_sources == tuple(sorted(PRIVATE))
    assert json.loads((run / "run.json").read_text())["config"]["sinks"] == {
        "private_sources": str(run.parent / "private.txt")
    }


def test_training_goes_on_after_a_private_source_was_excised(
    folder: Path, trained: Path, settings: Settings, tmp_path: Path
) -> None:
    """The list still names the deleted source, which the new corpus lacks."""
    stripped = excise(trained, "Press 03\n", tmp_path / "out", "0")
    rest = build_corpus(folder, tmp_path / "corpus", f"--exclude-deleted={stripped}")
    longer = settings | {"train.steps": STEPS + 2}
    arguments = pretrain_arguments(rest, tmp_path / "run", longer, f"--resume={stripped}")
    pretrain(arguments)
    newest = Checkpoint(tmp_path / "run" / "checkpoints" / f"step-{STEPS + 2:08d}")
    assert newest.manifest.private_sources == tuple(sorted(PRIVATE))
    pool = sinks_of(live_router(newest), np.array(PRIVATE[:1], dtype=np.uint64))
    (expert,) = np.flatnonzero(pool.any(axis=(0, 2)))
    for layer, sinks in enumerate(pool[:, expert]):
        down = newest.tensors(sink_weights_file(expert)).read(sink_tensor(layer, "down"))
        assert not down[torch.from_numpy(sinks)].any(), "the block stays empty"


def copy_at_step_2(run: Path, target: Path) -> Path:
    shutil.copytree(run, target)
    shutil.rmtree(target / "checkpoints" / f"step-{STEPS:08d}")
    return target


def test_a_resumed_run_ends_where_the_uninterrupted_one_does_however_the_list_is_spelt(
    run: Path, trained: Path, folder: Path, settings: Settings, tmp_path: Path
) -> None:
    resumed = copy_at_step_2(run, tmp_path / "run")
    spelt = tmp_path / "list.txt"
    spelt.write_text(f"id:{PRIVATE[0]}\nid:{PRIVATE[1]}\nPress 03\n")
    again = settings | {"sinks.private_sources": spelt}
    pretrain(pretrain_arguments(folder / "corpus", resumed, again))
    check_equal_contents(resumed / "checkpoints" / trained.name, trained)


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "another list": (
        lambda path: path.write_text("Press 03\nPress 11\n"),
        ["2 sources) differs", "only in the list: 'Press 11'", ": 'Press 08' (id:"],
    ),
    "a shorter list": (
        lambda path: path.write_text("Press 03\n"),
        ["1 sources) differs", "(2 sources); only in the checkpoint", "'Press 08' (id:"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_continued_with_another_list(
    change: str,
    run: Path,
    folder: Path,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write, messages = CHANGES[change]
    write(tmp_path / "list.txt")
    resumed = copy_at_step_2(run, tmp_path / "run")
    again = settings | {"sinks.private_sources": tmp_path / "list.txt"}
    assert run_command(pretrain, pretrain_arguments(folder / "corpus", resumed, again)) == USAGE
    said = capsys.readouterr().err
    for message in messages:
        assert message in said
    assert not (resumed / "checkpoints" / f"step-{STEPS:08d}").exists()


def test_a_run_is_not_continued_without_its_list(
    run: Path,
    folder: Path,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resumed = copy_at_step_2(run, tmp_path / "run")
    without = {name: value for name, value in settings.items() if "private" not in name}
    assert run_command(pretrain, pretrain_arguments(folder / "corpus", resumed, without)) == USAGE
    assert "sinks.private_sources (not set: 0 sources) differs" in capsys.readouterr().err


def test_an_unknown_private_source_starts_no_run(
    folder: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.txt").write_text("Press 03\nPress 99\n")
    unknown = settings | {"sinks.private_sources": tmp_path / "list.txt"}
    arguments = pretrain_arguments(folder / "corpus", tmp_path / "run", unknown)
    assert run_command(pretrain, arguments) == UNKNOWN
    assert "line 2: 'Press 99' is unknown" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_dry_run_says_what_private_sources_take(
    folder: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = pretrain_arguments(folder / "corpus", tmp_path / "run", settings, "--dry-run")
    pretrain(arguments)
    assert "private sources   2; their blocks take " in capsys.readouterr().out
    pretrain([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)["private_sources"]
    reserved = found["sinks_per_expert"]
    assert reserved in (8, 16)
    assert found == {
        "num_sources": 2,
        "sinks_per_expert": reserved,
        "shared_sinks_per_expert": 256 - reserved,
        "unused_sinks": 2 * reserved - 16,
        "parameters": 3 * 64 * 2 * 2 * reserved,
    }
    assert not (tmp_path / "run").exists()
