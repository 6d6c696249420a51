"""Imports of the two libraries: what they warn of as they load is held back, and nothing later."""

import logging
import warnings

import pytest

from nulls_dist.parallel.quiet import import_quietly


def test_a_module_is_imported_without_its_warnings_and_warnings_go_on(
    tmp_path, monkeypatch, caplog
):
    text = "import logging, warnings\nwarnings.warn('w')\nlogging.getLogger('l').warning('l')\n"
    (tmp_path / "loud_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert import_quietly("loud_module").__name__ == "loud_module"
        assert not caplog.records
        with pytest.raises(UserWarning, match="still"):
            warnings.warn("still told", stacklevel=1)
    logging.getLogger("l").warning("still told")
    assert [record.message for record in caplog.records] == ["still told"]


def test_after_an_import_that_fails_warnings_go_on(caplog):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_quietly("no_such_module")
    logging.getLogger("l").warning("still told")
    assert caplog.records
