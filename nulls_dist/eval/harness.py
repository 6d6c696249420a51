"""Our checkpoints and releases under lm-evaluation-harness, in any state.

Importing this module registers the model "nulls" with the harness:

    import lm_eval
    import nulls_dist.eval.harness

    lm_eval.simple_evaluate("nulls", "checkpoint=CKPT,state=on,source=Alabama", ["sciq"])

An item may name its own source: where no `source` is given, the state of an item is that of the
source in its field "source", written as a line of sources.txt.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from nulls_dist.data.corpus import Corpus
from nulls_dist.errors import ConfigError, InputError
from nulls_dist.eval.states import State, donors
from nulls_dist.eval.subject import open_subject
from nulls_dist.eval.token_scores import BATCH_TOKENS, Passage, score_passages
from nulls_dist.sources import NO_SOURCE

SOURCE_FIELD: Final = "source"
"""Field of an item that names its source."""

_MAX_NEW_TOKENS: Final = 256
"""Where a task does not say; the harness's own models have the same default."""

_Request = tuple[tuple[str, str], list[int], list[int]]
"""Context and continuation, their tokens."""


@register_model("nulls")
class NullsLM(TemplateLM):  # type: ignore[misc]
    """A checkpoint or release as the harness asks it, in one state.

    Do not use the harness's cache of responses (`use_cache`): it does not see the items' sources.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        state: str = State.OFF,
        source: str | int | None = None,
        corpus: str | Path | None = None,
        batch_tokens: int = BATCH_TOKENS,
        batch_size: str | int | None = None,
        max_batch_size: str | int | None = None,
    ) -> None:
        """Load the model; `close` or the end of the process lets it go.

        Args:
            checkpoint: directory of a checkpoint or release.
            state: on, off, nearest or placebo: whose sinks serve, relative to the source.
            source: of all items, as a line of sources.txt; by default each names its own.
            corpus: directory of the corpus that says who is nearest or unrelated.
            batch_tokens: at most how many tokens are computed at once.
            batch_size: in texts; passed by the harness, without effect.
            max_batch_size: likewise.

        Raises:
            ConfigError: no such state.
            InputError: `checkpoint` or `corpus` is none.
            UnknownSourceError: no one source has the name.
        """
        super().__init__()
        if state not in list(State):
            raise ConfigError(f"state={state!r} must be one of {', '.join(State)}")
        self._state = State(state)
        self._source = None if source is None else str(source)  # the harness parses "source=12"
        self._corpus = None if corpus is None else Corpus(Path(corpus))
        self._batch_tokens = batch_tokens
        self._donor_of: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self._subject = self._stack.enter_context(open_subject(Path(checkpoint)))

    def close(self) -> None:
        """Let the model go."""
        self._stack.close()

    @property
    def eot_token_id(self) -> int:
        """Return the token that ends a document; it stands before a text without context."""
        return self._subject.eos_id

    @property
    def max_length(self) -> int:
        """Return how many tokens the model sees at once."""
        return self._subject.context_length

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return the tokens of a text; special ones are never added, as in the corpus."""
        return self._subject.tokenizer.encode(string)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Score continuations: (nats, whether greedy decoding would write it) per request.

        Raises:
            InputError: an item names no source, or a continuation has no token.
            RefusedError: a source was deleted.
            UnknownSourceError: an item's source is not in the model.
        """
        encoded = [(request.args, *self._encode_request(*request.args)) for request in requests]
        return self._loglikelihood_tokens(encoded, source_ids=self._donors(requests))

    def _encode_request(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            before, after = [], self.tok_encode(continuation)
            if after[:1] == [self.prefix_token_id]:
                before, after = after[:1], after[1:]
        return before or [self.prefix_token_id], after

    def _loglikelihood_tokens(
        self, requests: list[_Request], *, source_ids: Sequence[int] = (), **kwargs: Any
    ) -> list[tuple[float, bool]]:
        passages = []
        for ((_, text), before, after), source_id in zip(requests, source_ids, strict=True):
            if not 0 < len(after) <= self.max_length:
                raise InputError(
                    f"the continuation {text[:80]!r} has {len(after)} tokens; it must have at "
                    f"least 1 and fit the model's context of {self.max_length}"
                )
            tokens = [*before, *after][-(self.max_length + 1) :]
            start = len(tokens) - len(after)
            passages.append(Passage(tokens=tokens, start=start, source_id=source_id))
        scores = score_passages(
            self._subject, passages, batch_tokens=self._batch_tokens, unit="requests"
        )
        return [(score.log_likelihood, score.is_greedy) for score in scores]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Score whole texts, in windows of the context's length: nats per request.

        Raises:
            InputError: an item names no source.
            RefusedError: a source was deleted.
            UnknownSourceError: an item's source is not in the model.
        """
        source_ids = self._donors(requests)
        windows: list[_Request] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            (text,) = request.args
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for window in map(make_disjoint_window, rolling):
                windows.append((("", text), *window))
                owners.append(number)
        served = [source_ids[owner] for owner in owners]
        totals = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows, source_ids=served)
        for owner, (nats, _) in zip(owners, scores, strict=True):
            totals[owner] += nats
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continue texts greedily, one forward pass per token: for small models.

        Raises:
            ConfigError: a task wants to draw tokens by chance.
            InputError: an item names no source.
            RefusedError: a source was deleted.
            UnknownSourceError: an item's source is not in the model.
        """
        paired = list(zip(requests, self._donors(requests), strict=True))
        with tqdm(paired, desc="generate", unit=" texts", disable=None, leave=False) as bar:
            return [
                self._continue(context, options, source_id)
                for request, source_id in bar
                for context, options in [request.args]
            ]

    def _continue(self, context: str, options: dict[str, Any], source_id: int) -> str:
        wanted = normalize_gen_kwargs(options, _MAX_NEW_TOKENS)
        if wanted["do_sample"]:
            raise ConfigError("do_sample: the model 'nulls' is asked greedily; set it to false")
        stops = handle_stop_sequences(wanted["until"], eos=None)
        most = min(wanted["max_gen_toks"], self.max_length - 1)
        prompt = self.tok_encode(context) or [self.prefix_token_id]
        tokens = prompt[-(self.max_length - most) :]
        text, start = "", len(tokens)
        while len(tokens) - start < most and not any(stop in text for stop in stops):
            (logits,) = self._subject.logits([tokens], [source_id])
            token = int(logits[-1].argmax())
            if token == self.eot_token_id:
                break
            tokens.append(token)
            text = self._subject.tokenizer.decode(tokens[start:])
        for stop in filter(None, stops):
            text = text.split(stop)[0]
        return text

    def _donors(self, requests: Sequence[Instance]) -> list[int]:
        """Return whose sinks serve each request."""
        if self._state is State.OFF:
            return [NO_SOURCE] * len(requests)
        names = [self._source or _source_of(request) for request in requests]
        if asked := sorted(set(names) - self._donor_of.keys()):
            found = self._subject.find_sources(asked)
            lacking = [] if self._corpus is None else self._subject.lacking(self._corpus).tolist()
            donor_of = donors(self._state, self._corpus, sorted(set(found)), deleted=lacking)
            self._donor_of |= {
                name: donor_of[number] for name, number in zip(asked, found, strict=True)
            }
        return [self._donor_of[name] for name in names]


def _source_of(request: Instance) -> str:
    name = request.doc.get(SOURCE_FIELD)
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            f"item {request.doc_id} of task {request.task_name} has no text in the field "
            f"{SOURCE_FIELD!r}, so its state is that of no source; add it, give one source for "
            "all items, or ask in the state off"
        )
    return name


def run_tasks(
    model: NullsLM, tasks: Sequence[str], *, limit: int | None, num_fewshot: int | None
) -> dict[str, dict[str, Any]]:
    """Run tasks of the harness.

    Args:
        model: the model.
        tasks: names that the harness knows, whose data it downloads, or folders of task files in
            YAML, of which all tasks are run.
        limit: at most how many items of each task.
        num_fewshot: items shown before each; by default what the task says.

    Returns:
        Task -> metric -> value, as the harness names them.

    Raises:
        ConfigError: a task is unknown.
        InputError: a folder holds no task.
    """
    folders = [task for task in tasks if Path(task).is_dir()]
    names = [task for task in tasks if task not in folders]
    local = TaskManager(include_path=folders, include_defaults=False).all_subtasks
    if folders and not local:
        raise InputError(f"no task file (*.yaml with the key task) in {', '.join(folders)}")
    manager = TaskManager(include_path=folders, include_defaults=bool(names))
    if unknown := sorted(set(names) - set(manager.all_tasks)):
        raise ConfigError(
            f"{', '.join(unknown)}: neither a folder nor a task of lm-evaluation-harness; "
            "`lm_eval ls tasks` lists them"
        )
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
        found = simple_evaluate(
            model,
            tasks=[*local, *names],
            task_manager=manager,
            limit=limit,
            num_fewshot=num_fewshot,
            log_samples=False,
        )
    return dict(found["results"])


def format_results(title: str, results: dict[str, dict[str, Any]]) -> str:
    """Return a table for a terminal."""
    rows = [
        (task, metric.removesuffix(",none"), value)
        for task, metrics in results.items()
        for metric, value in metrics.items()
        if isinstance(value, float)
    ]
    width = max((len(task) for task, *_ in rows), default=0)
    lines = [f"{task:<{width}}  {metric:<20}{value:>10.4f}" for task, metric, value in rows]
    return "\n".join([title, *lines])
