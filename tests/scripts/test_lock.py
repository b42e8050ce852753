"""uv.lock: it is what pyproject.toml asks for, of the public index alone, and installs through a mirror."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked_project() -> dict:
    return next(package for package in LOCK["package"] if package["name"] == PROJECT["project"]["name"])


def as_asked(requirement: str) -> tuple[str, str]:
    name, specifier = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(.*)", requirement).groups()
    return re.sub(r"[-_.]+", "-", name).lower(), ",".join(sorted(specifier.replace(" ", "").split(",")))


def as_locked(requirement: dict) -> tuple[str, str]:
    return requirement["name"], ",".join(sorted(requirement.get("specifier", "").replace(" ", "").split(",")))


def test_the_lock_answers_what_the_project_asks_for():
    asked = {as_asked(text) for text in PROJECT["project"]["dependencies"]}
    assert {as_locked(entry) for entry in locked_project()["metadata"]["requires-dist"]} == asked


@pytest.mark.parametrize("group", sorted(PROJECT["dependency-groups"]))
def test_the_lock_answers_each_group(group):
    asked = {as_asked(text) for text in PROJECT["dependency-groups"][group]}
    assert {as_locked(entry) for entry in locked_project()["metadata"]["requires-dev"][group]} == asked


def test_the_lock_names_only_the_public_index():
    hosts = set(re.findall(r"[a-z]+://[^/\"]*", (ROOT / "uv.lock").read_text()))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}
    assert "find-links" not in (ROOT / "uv.lock").read_text()


def test_every_locked_file_has_its_hash():
    files = [
        file
        for package in LOCK["package"]
        for file in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    ]
    assert len(files) > 100
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", file["hash"]) for file in files)


def test_what_builds_the_environment_is_locked_too():
    assert {"uv", "hatchling", "editables"} <= {package["name"] for package in LOCK["package"]}


def test_the_scripts_have_no_finding_of_shellcheck():
    if shutil.which("shellcheck") is None:
        _missing("shellcheck is missing: apt-get install shellcheck")
    scripts = ["scripts/up", "scripts/test", "scripts/host-setup", ".ci/run"]
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


class _Mirror(SimpleHTTPRequestHandler):
    """A package mirror of plain files that remembers what it was asked."""

    asked: list[str] = []

    def log_message(self, *words: object) -> None:
        self.asked.append(self.path)


@pytest.mark.network
def test_the_environment_is_made_from_a_mirror_alone(tmp_path):
    """Real pip, real uv and the real scripts; whatever does not come from the mirror fails."""
    checkout = _small_checkout(tmp_path / "checkout")
    index = _fill_mirror(checkout, tmp_path / "mirror" / "simple")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Mirror, directory=str(index.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = _make_environment(checkout, PIP_INDEX_URL=f"http://127.0.0.1:{server.server_port}/simple")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert {"/simple/uv/", "/simple/hatchling/"} <= set(_Mirror.asked)
    answer = subprocess.run([checkout / ".venv/bin/stack"], capture_output=True, text=True, check=True)
    assert answer.stdout == "served\n"
    again = _make_environment(checkout, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert (again.returncode, again.stderr) == (0, ""), "the second run needs no index"


@pytest.mark.network
def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path):
    checkout = _small_checkout(tmp_path / "checkout")
    lock = checkout / "uv.lock"
    lock.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{hashlib.sha256(b'other').hexdigest()}", lock.read_text()))
    done = _make_environment(checkout)
    assert done.returncode == 3
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (checkout / ".venv/.installed-from").exists()


def _missing(how: str) -> None:
    if "docker" in os.environ.get("STACK_REQUIRE", ""):
        pytest.fail(how)
    pytest.skip(how)


def _small_checkout(folder: Path) -> Path:
    """The real scripts and the real build group, around a package of one line."""
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "stack").mkdir()
    (folder / "stack/__init__.py").write_text("def main():\n    print('served')\n")
    pins = {package["name"]: package.get("version") for package in LOCK["package"]}
    group = [f"{name}=={pins[name]}" for name in ("editables", "hatchling", "uv")]
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n'
        '[project]\nname = "small"\nversion = "1"\nrequires-python = ">=3.11"\n\n[project.scripts]\n'
        f'stack = "stack:main"\n\n[dependency-groups]\nbuild = {group}\n\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["stack"]\n'.replace("'", '"')
    )
    _uv("lock", "--project", str(folder))
    return folder


def _uv(*arguments: str) -> str:
    uv = Path(sys.executable).with_name("uv")
    certificate = {"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
    done = subprocess.run([uv, *arguments], env=os.environ | certificate, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _fill_mirror(checkout: Path, index: Path) -> Path:
    """The wheels that the lock names for this machine, laid out as the simple index."""
    wanted = checkout.parent / "wanted.txt"
    project = ["--project", str(checkout), "--no-emit-project"]
    wanted.write_text(_uv("export", *project, "--frozen", "--quiet", "--group", "build"))
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", wanted, "-d", index]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True, capture_output=True)
    for wheel in list(index.iterdir()):
        folder = index / re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()
        folder.mkdir(exist_ok=True)
        wheel.rename(folder / wheel.name)
    return index


def _make_environment(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    code = f'set -euo pipefail; ROOT={checkout}; source "$ROOT/scripts/lib/all.sh"; ensure_venv'
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    if settings:
        environment |= {"PIP_CONFIG_FILE": os.devnull, **settings}
    elif "PIP_CERT" in os.environ:
        environment["PIP_CERT"] = os.environ["PIP_CERT"]
    return subprocess.run(["bash", "-c", code], env=environment, capture_output=True, text=True, timeout=300)
