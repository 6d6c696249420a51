"""Released routers are refused in training, so a mask of all sinks never trains."""

import pytest

from nulls_dist.config.presets import nulls_1b_paper
from nulls_dist.errors import ConfigError
from nulls_dist.train.run import resolve_model


def test_a_released_router_does_not_train():
    with pytest.raises(ConfigError, match="is for loading released weights; train with stratified"):
        resolve_model(nulls_1b_paper().model, None)
