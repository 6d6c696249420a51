"""Under lm-evaluation-harness we answer as its own model of transformers does, in any state."""

import json
import lzma
import random
from contextlib import closing

import pytest
import tokenizers

from nulls_dist.checkpoint.format import Grade, Tombstone
from nulls_dist.checkpoint.store import Checkpoint
from nulls_dist.cli import run_command
from nulls_dist.data.format import TokenizerRecord
from nulls_dist.durable import sha256_file
from nulls_dist.errors import ConfigError, InputError, RefusedError, UnknownSourceError
from nulls_dist.export.backbone import export_backbone
from nulls_dist.export.routed import export_routed
from tests.checkpoint_factory import TOKENIZER_FILE, build_checkpoint, key_id, tiny_model

pytest.importorskip("lm_eval", reason="needs the extra eval")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from nulls_dist.eval.harness import NullsLM, run_tasks
from nulls_dist.eval.inference import load_for_inference
from tests.bench_tasks import write_bench_tasks, write_task
from tools import evaluate

DELETED = Tombstone(source_id=key_id("k-3"), grade=Grade.EXCISED, seed=1)
PAIRS = [("thecat", "sat"), ("", "onthemat"), ("a", "b"), ("x" * 40, "yz"), ("cat", "ht")]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint", tombstones=(DELETED,))


@pytest.fixture(scope="module")
def backbone(root, tmp_path_factory):
    export_backbone(Checkpoint(root), tmp_path_factory.mktemp("release") / "backbone")
    return next(tmp_path_factory.getbasetemp().glob("release*/backbone"))


def ask(method, requests, *arguments, **options):
    with closing(NullsLM(*arguments, **options)) as model:
        return getattr(model, method)(requests)


def requests_of(kind, *arguments, docs=None):
    docs = docs or [{}] * len(arguments)
    return [
        Instance(kind, doc, args, number, ("task", number, 1))
        for number, (args, doc) in enumerate(zip(arguments, docs, strict=True))
    ]


def theirs(folder, monkeypatch):
    from lm_eval.models.huggingface import HFLM

    monkeypatch.delenv("LOCAL_RANK", raising=False)  # else accelerate looks for other processes
    return HFLM(str(folder), device="cpu", batch_size=2, softmax_dtype="float64")


def test_log_likelihoods_are_those_of_the_released_backbone(root, backbone, monkeypatch):
    requests = requests_of("loglikelihood", *PAIRS)
    found = ask("loglikelihood", requests, root)
    again = ask("loglikelihood", requests, root, batch_tokens=1)
    expected = theirs(backbone, monkeypatch).loglikelihood(requests)
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in expected], abs=1e-4)
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in again], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_whole_texts_are_scored_in_the_same_windows(root, backbone, monkeypatch):
    draws = random.Random(0)
    texts = ["".join(draws.choices("abcdefgh", k=length)) for length in (1, 31, 32, 80, 200)]
    requests = requests_of("loglikelihood_rolling", *((text,) for text in texts))
    expected = theirs(backbone, monkeypatch).loglikelihood_rolling(requests)
    found = ask("loglikelihood_rolling", requests, root)
    assert found == pytest.approx(expected, abs=1e-4)


def test_texts_are_continued_alike(root, backbone, monkeypatch):
    options = [{"until": [], "max_gen_toks": 12}, {"until": ["e", "q"], "max_gen_toks": 20}]
    pairs = [(text, option) for text in ("thecat", "b", "z" * 50) for option in options]
    requests = requests_of("generate_until", *pairs)
    expected = theirs(backbone, monkeypatch).generate_until(requests)
    found = ask("generate_until", requests, root)
    assert found == expected
    assert any(found)
    with pytest.raises(ConfigError, match="do_sample"):
        ask("generate_until", requests_of("generate_until", ("a", {"do_sample": True})), root)


def test_items_are_served_by_the_source_they_name(root):
    pair = ("thecat", "sat")
    names = ["Title 01", "Title 05", f"id:{key_id('k-1')}"]
    requests = requests_of("loglikelihood", *[pair] * 3, docs=[{"source": name} for name in names])
    found = ask("loglikelihood", requests, root, state="on")
    assert found[0][0] == pytest.approx(found[2][0])
    assert abs(found[0][0] - found[1][0]) > 1e-4
    fixed = ask("loglikelihood", requests, root, state="on", source="Title 05")
    assert [nats for nats, _ in fixed] == pytest.approx([found[1][0]] * 3)
    with load_for_inference(root) as model:
        tokens = [28, 6, 4, 2, 21, 20, 2, 21]  # "th e c a t s a t"
        (logits,) = model.logits([tokens[:-1]], [key_id("k-1")])
    shares = logits.log_softmax(-1)[-3:]
    expected = sum(float(shares[place, token]) for place, token in enumerate(tokens[-3:]))
    assert found[0][0] == pytest.approx(expected, abs=1e-5)


def test_a_routed_release_answers_in_every_state_of_the_checkpoint(root, tmp_path):
    export_routed(Checkpoint(root), tmp_path / "routed")
    requests = requests_of("loglikelihood", *PAIRS)
    for options in ({"state": "off"}, {"state": "on", "source": "Title 05"}):
        ours = ask("loglikelihood", requests, root, **options)
        released = ask("loglikelihood", requests, tmp_path / "routed", **options)
        assert [one[0] for one in ours] == pytest.approx([one[0] for one in released], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "doc", "error", "message"),
    [
        ({"state": "asleep"}, {}, ConfigError, "on, off, nearest, placebo"),
        ({"state": "on"}, {}, InputError, "item 0 of task task has no text in the field 'source'"),
        ({"state": "on"}, {"source": 5}, InputError, "no text in the field 'source'"),
        ({"state": "on"}, {"source": "Title 99"}, UnknownSourceError, "'Title 99' is unknown"),
        ({"state": "on", "source": "Title 03"}, {}, RefusedError, "deleted"),
        ({"state": "nearest", "source": "Title 03"}, {}, InputError, "the corpus is needed"),
    ],
)
def test_what_cannot_be_asked_is_refused(root, options, doc, error, message):
    with pytest.raises(error, match=message):
        ask("loglikelihood", requests_of("loglikelihood", ("a", "b"), docs=[doc]), root, **options)


@pytest.mark.parametrize("text", ["", "b" * 33])
def test_a_continuation_has_to_fit_the_context(root, text):
    with pytest.raises(InputError, match=f"has {len(text)} tokens"):
        ask("loglikelihood", requests_of("loglikelihood", ("a", text)), root)


def test_the_tool_runs_the_tasks_of_a_folder_in_several_states(root, tmp_path, capsys):
    items = [
        {"question": "thecat", "options": ["sat", "ran"], "answer": 0, "source": "Title 01"},
        {"question": "thedog", "options": ["sat", "ran"], "answer": 1, "source": "Title 02"},
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    write_task(
        tmp_path,
        "animals",
        tmp_path / "items.jsonl",
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="{{options}}",
        doc_to_target="answer",
        metric_list=[{"metric": "acc"}],
    )
    arguments = ["harness", str(root), "--tasks", str(tmp_path), "--state", "on", "off"]
    assert run_command(evaluate.main, [*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result.keys() == {"on", "off"}
    for state in result:
        assert result[state]["animals"]["acc,none"] in {0.0, 0.5, 1.0}
    assert run_command(evaluate.main, arguments) == 0
    shown = capsys.readouterr().out
    assert "state on\n" in shown
    assert f"animals  acc                 {result['off']['animals']['acc,none']:10.4f}" in shown


def test_a_folder_without_tasks_is_refused(root, tmp_path):
    with closing(NullsLM(root)) as model, pytest.raises(InputError, match="no task file"):
        run_tasks(model, [str(tmp_path)], limit=None, num_fewshot=None)


@pytest.mark.slow  # the harness reads thousands of task files
def test_an_unknown_task_is_refused(root):
    with closing(NullsLM(root)) as model, pytest.raises(ConfigError, match="no-such-task: neither"):
        run_tasks(model, ["no-such-task"], limit=None, num_fewshot=None)


def train_tokenizer(texts):
    """Return what writes a byte-level tokenizer of 600 tokens and describes it."""

    def write(path):
        tokenizer = tokenizers.ByteLevelBPETokenizer()
        tokenizer.train_from_iterator(texts, vocab_size=600, special_tokens=["</s>"])
        path.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path))
        return TokenizerRecord(
            kind="hf", file=TOKENIZER_FILE, sha256=sha256_file(path), vocab_size=600, eos_id=0
        )

    return write


def test_bench_scores_equal_those_of_the_released_backbone(test_data, tmp_path, monkeypatch):
    bench = test_data / "bench"
    text = lzma.decompress((bench / "sciq_validation.jsonl.xz").read_bytes()).decode()
    root = build_checkpoint(
        tmp_path / "checkpoint",
        model=tiny_model(vocab_size=600, context_length=1024),
        tokenizer=train_tokenizer(text.splitlines()),
    )
    export_backbone(Checkpoint(root), tmp_path / "backbone")
    (tmp_path / "tasks").mkdir()
    names = write_bench_tasks(tmp_path / "tasks", bench)
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    options = {"tasks": names, "task_manager": manager, "limit": 12, "bootstrap_iters": 0}
    ours = lm_eval.simple_evaluate("nulls", f"checkpoint={root},state=off", **options)
    model = theirs(tmp_path / "backbone", monkeypatch)
    expected = lm_eval.simple_evaluate(model, **options)
    assert ours["results"] == expected["results"]
    for name in names:
        assert len(ours["samples"][name]) == 12
        for mine, other in zip(ours["samples"][name], expected["samples"][name], strict=True):
            pairs = zip(mine["filtered_resps"], other["filtered_resps"], strict=True)
            for (nats, greedy), (other_nats, other_greedy) in pairs:
                assert float(nats) == pytest.approx(float(other_nats), abs=1e-4)
                assert str(greedy) == str(other_greedy)
