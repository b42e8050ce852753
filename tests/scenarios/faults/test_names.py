"""Paths with spaces, quotes, unicode and `$` must work everywhere: state, configuration, model, cache, eject."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.engine import answers
from tests.scenarios.harness import Stack
from tests.scenarios.projects import render_config
from tests.unit.models.conftest import build_model_files, write_files

ODD = 'it\'s "a" $HOME ${x} `y` ünï-日本 #1 %s,b'


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    made = make_stack("odd")
    odd = made.folder / ODD
    (odd / "home").mkdir(parents=True)
    stack = Stack(made.name, odd, odd / "data")
    made.environ = stack.environment()
    model, adapter = odd / "models" / ODD, odd / "extra" / "a $file.json"
    write_files(model, build_model_files())
    adapter.parent.mkdir()
    adapter.write_text("{}")
    for path in made.folder.parents:
        # Made by pytest for its own user alone.
        if path.name.startswith("pytest-"):
            path.chmod(0o755)
    made.folder.chmod(0o755)
    config = render_config(fake_engine, model=f"id = {json.dumps(str(model), ensure_ascii=False)}")
    mounts = f'[engine.mounts]\n"/extra/a $x.json" = {json.dumps(str(adapter), ensure_ascii=False)}\n'
    stack.write_config(config + mounts + '[engine.args]\nchat-template = "it\'s $HOME"\n')
    return stack


@pytest.mark.fault(
    "Paths of state, configuration, model and mounts with spaces, quotes, unicode and `$`",
    "They work through Compose as they are, also in an ejected directory",
)
def test_odd_paths_reach_the_containers_as_they_are(stack: Stack) -> None:
    stack.run("up", "--no-smoke").demand()
    engine = stack.containers()["engine"]
    sources = {mount["Destination"]: mount["Source"] for mount in engine["Mounts"]}
    assert sources["/extra/a $x.json"] == str(stack.folder / "extra" / "a $file.json")
    assert any(source.startswith(str(stack.folder / "models" / ODD)) for source in sources.values())
    assert "it's $HOME" in engine["Args"]
    assert answers(stack)
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
    assert stack.run("logs", "engine", "--lines", "1").demand().out


def test_an_ejected_directory_with_an_odd_name_is_the_same(stack: Stack, tmp_path: Path) -> None:
    # Compose itself cannot work in a directory with a `%`.
    folder = tmp_path / ODD.replace("%", "")
    done = stack.run("eject", str(folder)).demand()
    assert "Traceback" not in done.err
    shown = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    engine = json.loads(shown.stdout)["services"]["engine"]
    sources = {volume["target"]: volume["source"] for volume in engine["volumes"]}
    # `config` writes a literal `$` as `$$`, as a Compose file must.
    assert sources["/extra/a $$x.json"].replace("$$", "$") == str(stack.folder / "extra" / "a $file.json")


def test_odd_paths_go_down_and_come_up_again(stack: Stack) -> None:
    stack.run("down").demand()
    assert stack.containers() == {}
    stack.run("up", "--no-smoke").demand()
    assert answers(stack)
