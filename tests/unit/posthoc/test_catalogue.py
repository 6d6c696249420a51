"""Methods by name, and their settings from text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist.errors import ConfigError
from nulls_dist.posthoc.catalogue import CATALOGUE, build_method, format_catalogue
from nulls_dist.posthoc.contract import Need
from nulls_dist.posthoc.gradient_methods import NPO, RetainTerm
from nulls_dist.posthoc.method import Method

TOLD = {"refusals": ((1, 2),), "layer": "layers.1", "threshold": 0.3, "max_new_tokens": 4}


def concrete(kind):
    """Every method class that stands for a method."""
    below = [each for sub in kind.__subclasses__() for each in concrete(sub)]
    return [*below, *([] if getattr(kind, "__abstractmethods__", ()) else [kind])]


def test_every_published_method_is_in_the_catalogue():
    known = {entry.method for entry in CATALOGUE.values()}
    shipped = {kind for kind in concrete(Method) if kind.__module__.startswith("nulls_dist.")}
    assert known == shipped
    assert len(known) == len(CATALOGUE) == 14


@pytest.mark.parametrize("key", CATALOGUE)
def test_every_method_is_built_from_what_it_is_told(key):
    method = build_method(key, TOLD)
    assert isinstance(method, CATALOGUE[key].method)
    assert method.needs == CATALOGUE[key].needs
    listed = next(part for part in format_catalogue().split("\n  ") if method.name in part)
    assert key in listed


def test_a_default_is_not_overridden_by_what_is_told():
    eco = build_method("eco", {"threshold": 0.1, "embedding": "here"})
    assert (eco.threshold, eco.embedding) == (0.5, "here")


def test_settings_are_typed_by_their_fields():
    npo = build_method("npo", {}, ["beta=0.5", "retain=kl"])
    assert npo == NPO(beta=0.5, retain=RetainTerm.KL)
    assert build_method("tau", TOLD, ["threshold=.2", "strengths=1, 2"]).strengths == (1.0, 2.0)
    pmc = build_method("pmc", {"eos_id": 5}, ["max_new_tokens=3", "eos_id=none"])
    assert (pmc.max_new_tokens, pmc.eos_id) == (3, None)


@given(st.floats(1e-6, 1e6))
def test_a_number_is_read_as_it_is_written(value):
    assert build_method("simnpo", {}, [f"beta={value!r}"]).beta == value


@pytest.mark.parametrize(
    ("key", "settings", "message"),
    [
        ("npoo", [], "did you mean npo"),
        ("npo", ["beta"], "must have the form field=value"),
        ("npo", ["bta=1"], "did you mean beta"),
        ("npo", ["beta=high"], r"beta \('high'\) must be a number"),
        ("npo", ["retain=some"], "retain 'some' is unknown"),
        ("eco", ["corruption=noise"], "can be set in Python only"),
        ("rmu", [], "rmu has no default for layer; give it, as a setting layer=VALUE"),
        ("sga", [], "no default for threshold"),
    ],
)
def test_what_cannot_be_built_is_refused(key, settings, message):
    with pytest.raises(ConfigError, match=message):
        build_method(key, {}, settings)


def test_a_listed_need_is_one_that_the_runner_grants():
    for entry in CATALOGUE.values():
        assert entry.needs <= set(Need)
        assert (Need.GRADIENTS in entry.needs) == (entry.key != "eco")
