"""A text is continued with the right sinks, and the tool says whose."""

import json
import sys

import pytest

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.cli import run_command
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.eval.generation import continue_text
from nulls_dist.eval.inference import load_for_inference
from nulls_dist.sources import NO_SOURCE
from tests.checkpoint_factory import build_checkpoint, key_id, model_without_sinks, source_rows
from tools import generate

TITLES = ["Alabama", "Mississippi River", "Anarchism"]
VOCABULARY, EOS = 29, 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    deleted = Tombstone(source_id=key_id("k-1"), grade=Grade.SUPPRESSED)
    root = tmp_path_factory.mktemp("run") / "checkpoint"
    return build_checkpoint(root, rows=source_rows(TITLES), tombstones=(deleted,))


def ask(capsys, *words):
    assert run_command(generate.main, [*map(str, words), "--json", "--max-new-tokens=5"]) == 0
    return json.loads(capsys.readouterr().out)


def continued(model, source_id, **changes):
    settings = {"num_tokens": 32, "eos_id": EOS, "vocab_size": VOCABULARY, "temperature": 0.0}
    return continue_text(
        model, [3, 4, 5], source_id=source_id, **(settings | {"seed": 0} | changes)
    )


def test_greedy_tokens_are_the_likeliest_of_a_pass_over_all_before(checkpoint):
    with load_for_inference(checkpoint) as model:
        window = model.config.context_length
        for source_id in (key_id("k-0"), NO_SOURCE):
            new = continued(model, source_id, eos_id=-1)
            assert len(new) == 32  # beyond the context
            tokens = [3, 4, 5, *new]
            for place in (3, 4, window, len(tokens) - 1):
                (logits,) = model.logits([tokens[max(0, place - window) : place]], [source_id])
                assert tokens[place] == int(logits[-1, :VOCABULARY].argmax())
        assert continued(model, key_id("k-0"), eos_id=-1) != continued(model, NO_SOURCE, eos_id=-1)


def test_the_end_of_the_document_ends_the_text(checkpoint):
    with load_for_inference(checkpoint) as model:
        new = continued(model, NO_SOURCE, eos_id=-1)
        assert continued(model, NO_SOURCE, eos_id=new[2]) == new[: new.index(new[2])]


def test_a_seed_fixes_the_draws(checkpoint):
    with load_for_inference(checkpoint) as model:
        hot = [continued(model, NO_SOURCE, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
        assert hot[0] == hot[1] != hot[2]
        with pytest.raises(ConfigError, match="temperature"):
            continued(model, NO_SOURCE, temperature=float("nan"))
        with pytest.raises(InputError, match="no token"):
            continue_text(
                model, [], source_id=NO_SOURCE, num_tokens=1, eos_id=0, vocab_size=29,
                temperature=0.0, seed=0,
            )  # fmt: skip


def test_the_nearest_survivor_serves_a_prompt(checkpoint, capsys):
    said = ask(capsys, checkpoint, "Alabama is", "--top", 1)
    assert (said["state"], said["source_id"], said["title"]) == (
        "nearest",
        key_id("k-0"),
        "Alabama",
    )
    assert said["candidates"][0]["stage"] == "mention"
    assert said["text"].replace(" ", "").startswith("labamais")  # no capitals in the vocabulary
    assert len(said["candidates"]) == 1


def test_a_deleted_source_never_serves(checkpoint, tmp_path, capsys):
    said = ask(capsys, checkpoint, "Mississippi River", "--index", tmp_path / "index")
    assert said["source_id"] != key_id("k-1")
    assert (tmp_path / "index" / "names.sqlite").is_file()
    words = [str(checkpoint), "the river", "--source", "Mississippi River"]
    assert run_command(generate.main, words) == 6
    error = capsys.readouterr().err
    assert "'Mississippi River'" in error
    assert "was deleted from this model (suppressed)" in error


def test_a_named_source_or_none_serves_on_request(checkpoint, capsys):
    said = ask(capsys, checkpoint, "it is", "--source", "anarchism")
    assert (said["state"], said["source_id"]) == ("on", key_id("k-2"))
    said = ask(capsys, checkpoint, "it is", "--state", "off")
    assert (said["state"], said["source_id"]) == ("off", None)


def test_whose_sinks_served_is_said_beside_the_text(checkpoint, capsys, caplog):
    caplog.set_level("INFO")
    assert run_command(generate.main, [str(checkpoint), "anarchizm", "--max-new-tokens=3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert f"activated 'Anarchism' (id:{key_id('k-2')}): nearest by spelling" in caplog.text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--source", "Xlabama"], 4, "did you mean 'Alabama'"),
        (["--state", "on"], 2, "'on' needs one to be named"),
        (["--state", "off", "--source", "Alabama"], 2, "'off' uses none"),
        (["--temperature", "-1", "--state", "off"], 2, "temperature"),
        (["--encoder", "some/model"], 2, "pip install 'nulls-dist[embeddings]'"),
    ],
)
def test_bad_requests_say_what_to_do(checkpoint, capsys, monkeypatch, words, code, message):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert run_command(generate.main, [str(checkpoint), "it is", *words]) == code
    assert message in capsys.readouterr().err


def test_a_model_without_sinks_answers_from_the_backbone(tmp_path, capsys):
    root = build_checkpoint(tmp_path / "dense", model=model_without_sinks())
    assert ask(capsys, root, "it is")["state"] == "off"
    assert run_command(generate.main, [str(root), "it is", "--state", "nearest"]) == 3
    assert "has no sinks" in capsys.readouterr().err
