"""The markers of needs, tried on a test session of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
INI = "[pytest]\nmarkers =\n  docker: x\n  root: x\n  grafana: x\naddopts = -p no:cacheprovider -rs -q\n"


@pytest.fixture
def run_session(tmp_path):
    """A function: the text of a test module and more environment give pytest's exit code and output."""
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text(INI)

    def run(module, **environ):
        (tmp_path / "test_it.py").write_text(module)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", str(tmp_path)],
            env={**os.environ, "STACK_REQUIRE": "", **environ}, capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


NEEDS_DOCKER = "import pytest\n@pytest.mark.docker\ndef test_it(): raise AssertionError('ran')\n"


def test_a_test_that_needs_docker_is_skipped_where_none_answers_and_says_how_to_get_it(run_session):
    code, said = run_session(NEEDS_DOCKER, DOCKER_HOST="unix:///nonexistent")
    assert code == 0
    assert "1 skipped" in said
    assert "needs a Docker engine with Compose v2: ./scripts/test gets them" in said


def test_a_docker_that_is_demanded_and_missing_is_a_failure(run_session):
    code, said = run_session(NEEDS_DOCKER, DOCKER_HOST="unix:///nonexistent", STACK_REQUIRE="docker")
    assert code == 1
    assert "STACK_REQUIRE demands `docker`: needs a Docker engine" in said
    assert "ran" not in said.replace("warnings", "")


def test_a_machine_without_the_docker_client_is_told_apart(run_session, tmp_path):
    (tmp_path / "bin").mkdir()
    code, said = run_session(NEEDS_DOCKER, PATH=str(tmp_path / "bin"))
    assert code == 0
    assert "needs Docker, which is not installed: ./scripts/test installs it" in said


def test_a_grafana_test_is_skipped_unless_an_image_is_named(run_session):
    module = "import pytest\n@pytest.mark.grafana\ndef test_it(): pass\n"
    code, said = run_session(module, STACK_TEST_GRAFANA_IMAGE="")
    assert code == 0
    assert "needs a Grafana image: STACK_TEST_GRAFANA_IMAGE=" in said


def test_a_test_that_needs_nothing_runs_whatever_is_demanded(run_session):
    code, said = run_session("def test_it(): pass\n", DOCKER_HOST="unix:///nonexistent", STACK_REQUIRE="docker")
    assert code == 0
    assert "1 passed" in said


def test_no_setting_of_the_user_reaches_a_test(run_session):
    module = """
import os, pathlib
def test_it(tmp_path_factory):
    base = str(tmp_path_factory.getbasetemp())
    assert [name for name in os.environ if name.startswith("STACK_")] == ["STACK_REQUIRE"]
    assert "HF_TOKEN" not in os.environ
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        assert os.environ[name].startswith(base), name
    assert pathlib.Path.home().is_dir() and not list(pathlib.Path.home().iterdir())
    assert (os.environ["NO_COLOR"], os.environ["COLUMNS"]) == ("1", "100")
def test_two_tests_share_no_home(): pathlib.Path.home().joinpath("x").touch(exist_ok=False)
def test_two_tests_share_no_home_indeed(): pathlib.Path.home().joinpath("x").touch(exist_ok=False)
"""
    code, said = run_session(module, STACK_ENGINE_DEVICE="cuda", STACK_PROJECT="mine", HF_TOKEN="hf_secret")
    assert (code, "3 passed" in said) == (0, True), said
