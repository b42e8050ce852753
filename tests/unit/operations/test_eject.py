"""The ejected directory: relative paths, no secrets, and a README that says what its user has to bring."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.config.lock import Lock
from stack.containers.gateway import render_gateway_key
from stack.errors import ModelError, StackError
from stack.operations import eject
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.eject import GATEWAY_KEY_RECIPE, run_eject
from stack.operations.images.needs import ImageNeed
from stack.operations.layout import decide
from stack.operations.layout.files import write_secrets
from stack.operations.project import ProjectFacts, make_folders

EXPOSED = "[services.gateway]\nexpose = true\n"
DIGEST = "docker.io/acme/{}@sha256:" + "d" * 64
BUILT = "localhost/stack/{}:bookworm-0123"
SERVICES = ("engine", "prometheus", "grafana", "node-exporter", "gateway")


@pytest.fixture
def run(make_session, make_snapshot, monkeypatch, tmp_path):
    """A function: stack.toml gives what was ejected, the folder and the session; nothing real is asked."""

    def call(toml="", *, images=BUILT, snapshot="here", folder=None, services=SERVICES):
        session = make_session(toml)
        snapshot = make_snapshot() if snapshot == "here" else None
        names = [name for name in services if name != "gateway" or "expose" in toml]
        resolved = SimpleNamespace(
            device=DeviceChoice(Choice("engine.device", "cpu", "no GPU")),
            snapshot=snapshot,
            reference=SimpleNamespace(id="acme/tiny"),
            needs={name: ImageNeed(name, "none", images.format(name), "here", "registry") for name in names},
            left_out={"grafana": "no registry"} if "grafana" not in names else {},
            ports={"engine": 8001, "prometheus": 9091, "grafana": 3001, "gateway": 8081},
            lock=Lock(),
            facts=ProjectFacts(),
        )
        monkeypatch.setattr(eject, "check_tools", lambda session: None)
        monkeypatch.setattr(eject, "resolve", lambda session, client: resolved)
        facts = SimpleNamespace(attention_heads=9, is_pooling=False)
        monkeypatch.setattr(decide, "build_model_facts", lambda path: facts)
        folder = folder or tmp_path / "ejected"
        return run_eject(session, folder), folder, session

    return call


def read_override(folder: Path) -> dict:
    return json.loads((folder / "compose.override.json").read_text())


def read_all(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_directory_has_everything_and_nothing_else(run):
    _, folder, _ = run()
    assert sorted(path.name for path in folder.iterdir()) == [
        ".env", "README.md", "cache", "compose.override.json", "compose.yaml", "files", "metrics", "reports", "secrets",
    ]  # fmt: skip
    env = (folder / ".env").read_text()
    assert env == "COMPOSE_PROJECT_NAME=stack-ejected\nCOMPOSE_FILE=compose.yaml:compose.override.json\n"


def test_an_exposed_stack_brings_the_gateways_file_in_the_order_of_merging(run):
    _, folder, _ = run(EXPOSED)
    files = (folder / ".env").read_text().splitlines()[1]
    assert files == "COMPOSE_FILE=compose.yaml:compose.gateway.yaml:compose.override.json"


def test_every_path_of_ours_is_relative_and_there(run, make_snapshot):
    _, folder, _ = run(EXPOSED)
    for service in read_override(folder)["services"].values():
        for mount in service.get("volumes", []):
            source = mount["source"]
            if source == str(make_snapshot().path):
                continue
            assert source.startswith("./")
            assert (folder / source).exists(), source


def test_nothing_points_back_into_the_state(run):
    _, folder, session = run(EXPOSED)
    text = read_all(folder)
    assert str(session.paths.state) not in text
    assert str(session.paths.cache) not in text


def test_no_secret_is_handed_over(run, make_session):
    session = make_session(EXPOSED)
    make_folders(session.paths, os.geteuid())
    write_secrets(session.config, SERVICES, session.paths)
    ejected, folder, _ = run(EXPOSED)
    text = read_all(folder)
    for path in session.paths.secrets.iterdir():
        assert path.read_text().strip() not in text
    assert list((folder / "secrets").iterdir()) == []
    assert ejected.secrets == ("secrets/api_key", "secrets/gateway_key", "secrets/grafana_password")
    named = {item["file"] for item in read_override(folder)["secrets"].values()}
    assert named == {f"./{name}" for name in ejected.secrets}


def test_folders_have_the_modes_that_containers_need_whatever_the_umask(run):
    before = os.umask(0o077)
    try:
        _, folder, _ = run()
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("files", "metrics", "secrets", "cache")}
    assert modes == {"files": 0o755, "metrics": 0o755, "secrets": 0o700, "cache": 0o700}
    assert stat.S_IMODE((folder / "files/prometheus/rules").stat().st_mode) == 0o755


@pytest.mark.root
def test_as_root_the_engines_user_may_write_its_caches(run):
    _, folder, _ = run()
    assert (folder / "cache").stat().st_uid == 2000


def test_what_a_digest_names_may_be_pulled_elsewhere_and_nothing_else(run):
    _, pulled, _ = run(images=DIGEST)
    assert read_override(pulled)["services"]["engine"]["pull_policy"] == "missing"


def test_what_was_built_here_is_never_looked_up(run):
    _, folder, _ = run(images=BUILT)
    assert read_override(folder)["services"]["engine"]["pull_policy"] == "never"
    readme = (folder / "README.md").read_text()
    assert "elsewhere bring them with `docker save` and `load`:\n\n- `localhost/stack/engine:bookworm-0123`" in readme


def test_the_readme_says_what_runs_and_who_owns_what(run, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    _, folder, _ = run(EXPOSED, services=("engine", "prometheus", "gateway"))
    readme = (folder / "README.md").read_text()
    assert "- model: acme/tiny @ 0123456789abcdef0123456789abcdef01234567, read from " in readme
    assert "- grafana is left out: no registry\n" in readme
    assert "`cache/` must belong to the engine's user, `1000:0`." in readme
    assert "- `secrets/api_key`, `chown 1000:0`\n- `secrets/gateway_key`, `chown 1000:0`\n" in readme
    assert GATEWAY_KEY_RECIPE in readme


def test_a_stack_without_secrets_says_nothing_of_them(run):
    _, folder, _ = run(services=("engine", "prometheus"))
    assert "Secrets are not part of it" not in (folder / "README.md").read_text()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl")
def test_the_recipe_of_the_readme_makes_the_file_that_the_gateway_reads(tmp_path):
    key = "k3y-0123456789_abcdefghijklmnopqrstuv"
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/api_key").write_text(key)
    subprocess.run(["sh", "-euc", GATEWAY_KEY_RECIPE], cwd=tmp_path, check=True)
    assert (tmp_path / "secrets/gateway_key").read_text() == render_gateway_key(key)


def test_a_directory_that_has_something_in_it_is_left_alone(run, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "precious").write_text("x")
    with pytest.raises(StackError) as caught:
        run(folder=folder)
    assert caught.value.message == f"{folder} is not empty"
    assert [path.name for path in folder.iterdir()] == ["precious"]


def test_an_empty_directory_is_used(run, tmp_path):
    (tmp_path / "mine").mkdir()
    run(folder=tmp_path / "mine")
    assert (tmp_path / "mine/compose.yaml").is_file()


def test_a_place_that_cannot_be_written_is_told(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError) as caught:
        run(folder=tmp_path / "file/below")
    assert caught.value.hint == "name another directory"


def test_a_model_that_is_not_here_is_warmed_first(run):
    with pytest.raises(ModelError) as caught:
        run(snapshot=None)
    assert (caught.value.message, caught.value.hint) == ("acme/tiny is not on the shared volume yet", "stack warm")


@pytest.mark.docker
@pytest.mark.parametrize("toml", ["", EXPOSED])
def test_compose_understands_the_directory_without_the_tool(run, toml):
    _, folder, _ = run(toml)
    for name in ("api_key", "gateway_key", "grafana_password"):
        (folder / "secrets" / name).write_text("x")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert set(services) == {name for name in SERVICES if name != "gateway" or toml}
    assert services["engine"]["volumes"][1]["source"] == str(folder / "cache")
