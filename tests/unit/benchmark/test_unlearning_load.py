"""The chart of how many sources share a sink: what it draws as the forecast."""

from nulls_dist.benchmark.unlearning.page.load import build_load, forecasts


def cell(value):
    return None if value is None else {"value": value, "low": None, "high": None}


def model(load, **figures):
    names = ("own", "off", "AUC off, all", "kept", "kept after", "forecast", "loss own", "loss off")
    cells = {name: cell(figures.get(name, 0.5)) for name in names}
    return {"setting": None, "value": None, "load": load, "figures": cells}


def test_the_forecast_is_what_kept_sources_know_less_the_share_that_they_lose():
    models = [model(2.0, kept=0.8, forecast=0.25), model(4.0, kept=1.0, forecast=None)]
    assert forecasts(models) == [(2.0, 0.8 * 0.75)]


def test_one_size_of_the_pool_makes_no_chart():
    assert build_load([model(2.0), model(2.0)], [0]) == ()
