"""The README walk as a user without root who may use Docker: a fresh copy, `./scripts/up`, a right answer."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.harness import PASSED_ON, ROOT, run_docker

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Walk:
    """A user's fresh copy of the checkout."""

    user: pwd.struct_passwd
    checkout: Path
    project: str

    def run(self, *argv: str, timeout_seconds: float = 1200) -> subprocess.CompletedProcess[str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ and name != "PATH"}
        environment = passed | {
            "HOME": self.user.pw_dir,
            "USER": self.user.pw_name,
            # Not this test's own Python: what a plain user finds on the machine.
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "STACK_PROJECT": self.project,
            "NO_COLOR": "1",
        }
        drop = [
            "setpriv",
            f"--reuid={self.user.pw_uid}",
            f"--regid={self.user.pw_gid}",
            "--init-groups",
            "--",
        ]
        return subprocess.run(
            [*drop, *argv], cwd=self.checkout, env=environment, capture_output=True, text=True,
            timeout=timeout_seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    name = "st" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    subprocess.run(["userdel", "--remove", name], capture_output=True)
    subprocess.run(["useradd", "--create-home", "--groups", "docker", "--shell", "/bin/bash", name], check=True)
    user = pwd.getpwnam(name)
    checkout = Path(user.pw_dir) / "stack"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for file in filter(None, files):
        if (ROOT / file).is_file():
            (checkout / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, checkout / file)
    subprocess.run(["chown", "--recursive", f"{name}:", str(checkout)], check=True)
    made = Walk(user, checkout, f"t{name}")
    yield made
    made.run(".venv/bin/stack", "down", "--volumes")
    subprocess.run(["userdel", "--remove", name], capture_output=True)


def test_a_user_of_the_docker_group_gets_a_right_answer_without_root(walk: Walk) -> None:
    assert walk.user.pw_name in grp.getgrnam("docker").gr_mem
    up = walk.run("./scripts/up", "--yes")
    assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
    assert "smoke     passed" in up.stdout
    line = next(line for line in up.stdout.splitlines() if line.startswith("curl "))
    answer = walk.run("bash", "-c", line)
    assert "Berlin" in json.loads(answer.stdout)["choices"][0]["message"]["content"]


def test_the_engine_runs_as_that_user_and_leaves_nothing_of_roots_behind(walk: Walk) -> None:
    ids = run_docker("ps", "-q", "--filter", f"label=com.docker.compose.project={walk.project}").split()
    found = {
        item["Config"]["Labels"]["com.docker.compose.service"]: item for item in json.loads(run_docker("inspect", *ids))
    }
    assert found["engine"]["Config"]["User"] == f"{walk.user.pw_uid}:0"
    strangers = [
        str(path)
        for path in Path(walk.user.pw_dir).rglob("*")
        if not path.is_symlink() and path.stat().st_uid != walk.user.pw_uid
    ]
    assert strangers == []


def test_another_up_takes_no_root_and_changes_nothing(walk: Walk) -> None:
    again = walk.run("./scripts/up")
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
