"""metrics.prom follows the grammar of Prometheus's text format, whatever the run is called."""

import math
import re
import time

from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.train.hooks import StepEvent
from nulls_dist.train.prometheus import PrometheusFile, exposition

# https://prometheus.io/docs/instrumenting/exposition_formats/ and .../concepts/data_model/
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
VALUE = r"[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN"
TYPE = re.compile(rf"# TYPE ({NAME}) gauge")
SAMPLE = re.compile(rf'({NAME})\{{([a-zA-Z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"\}} ({VALUE})')
UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parse(text):
    """Label's value and values by name, of a text in which every gauge has one sample."""
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    labels, values = set(), {}
    for head, line in zip(lines[::2], lines[1::2], strict=True):
        declared, sample = TYPE.fullmatch(head), SAMPLE.fullmatch(line)
        assert declared, head
        assert sample, line
        name, _, label, value = sample.groups()
        assert declared[1] == name
        assert name not in values
        values[name] = float(value)
        labels.add(re.sub(r"\\.", lambda match: UNESCAPED[match[0]], label))
    (label,) = labels
    return label, values


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.one_of(st.floats(), st.integers(-(2**60), 2**60)), min_size=1, max_size=5),
)
def test_any_name_of_a_run_and_any_number_survive(run, numbers):
    names = [f"perf/m_{place}" for place in range(len(numbers))]
    label, values = parse(exposition(dict(zip(names, numbers, strict=True)), {"run": run}))
    assert label == run
    for name, number in zip(names, numbers, strict=True):
        found = values[f"nulls_{name.replace('/', '_')}"]
        assert found == float(number) or (math.isnan(found) and math.isnan(number))


def event(step, **metrics):
    metrics |= {"step": step, "train/loss_nats": 2.5}
    return StepEvent(step=step, is_last=False, batches=[], metrics=metrics, engine=None)


def test_the_file_has_the_newest_value_of_every_metric_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "metrics.prom"
    file = PrometheusFile(path, run="run", life=2)
    file.after_step(event(1, **{"eval/loss_on_nats": 3.0, "perf/mfu": 0.5}))
    file.after_step(event(2, **{"perf/mfu": None}))
    _, values = parse(path.read_text())
    assert time.time() - values.pop("nulls_last_step_timestamp_seconds") < 60
    assert values == {
        "nulls_life": 2,
        "nulls_step": 2,
        "nulls_train_loss_nats": 2.5,
        "nulls_eval_loss_on_nats": 3.0,
        "nulls_perf_mfu": 0.5,
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.prom"]


def test_a_loss_that_is_not_a_number_is_told(tmp_path):
    path = tmp_path / "metrics.prom"
    PrometheusFile(path, run="run", life=1).after_step(event(1, **{"train/grad_norm": math.inf}))
    assert parse(path.read_text())[1]["nulls_train_grad_norm"] == math.inf


def test_what_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, caplog):
    file = PrometheusFile(tmp_path / "absent" / "metrics.prom", run="r", life=1)
    file.after_step(event(1))
    file.after_step(event(2))
    assert len(caplog.records) == 1
    assert "is out of date from now on" in caplog.text
    (tmp_path / "absent").mkdir()
    file.after_step(event(3))
    assert (tmp_path / "absent" / "metrics.prom").exists()
