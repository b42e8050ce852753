from pathlib import Path

import pytest

from stack.config.places import resolve_cache_dir, resolve_home, resolve_model_volume, resolve_state_dir
from stack.config.schema import EngineConfig, StackConfig
from stack.errors import ConfigError

HOME = {"HOME": "/h"}


def test_places_follow_the_home_directory():
    assert resolve_model_volume(HOME) == Path("/h/.local/share/stack/models")
    assert resolve_cache_dir(StackConfig(project="p"), HOME) == Path("/h/.cache/stack/p")
    assert resolve_state_dir("p", HOME) == Path("/h/.local/state/stack/p")


def test_xdg_variables_move_them():
    environ = {**HOME, "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s"}
    assert resolve_model_volume(environ) == Path("/d/stack/models")
    assert resolve_cache_dir(StackConfig(), environ) == Path("/c/stack/stack")
    assert resolve_state_dir("p", environ) == Path("/s/stack/p")


@pytest.mark.parametrize("value", ["", "relative/dir"])
def test_an_empty_or_relative_variable_counts_as_not_set(value):
    assert resolve_model_volume({**HOME, "XDG_DATA_HOME": value}) == Path("/h/.local/share/stack/models")


def test_a_cache_directory_that_was_asked_for_is_used():
    config = StackConfig(engine=EngineConfig(cache_dir="/fast"))
    assert resolve_cache_dir(config, HOME) == Path("/fast")


def test_the_state_can_be_moved_as_a_whole():
    assert resolve_state_dir("p", {**HOME, "STACK_STATE_HOME": "/t"}) == Path("/t/p")


def test_without_home_the_user_database_answers():
    assert resolve_home({}).is_absolute()


def test_without_any_home_it_is_a_problem(monkeypatch):
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigError, match="HOME: is not set"):
        resolve_home({})
