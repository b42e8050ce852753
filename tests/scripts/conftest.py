"""A pretended machine: a PATH of stubs that record what they are called with, and a file tree of facts.

The scripts run as they are, in a checkout of their own; nothing of the real machine is asked or changed.
"""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REAL_TOOLS = (
    "awk", "basename", "bash", "cat", "cp", "dirname", "env", "flock", "grep", "head", "mkdir", "mktemp",
    "readlink", "rm", "sed", "sh", "sha256sum", "sleep", "sort", "tail", "tee", "timeout",
)  # fmt: skip
OS_RELEASE = {
    "debian-11": 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nID=debian\nVERSION_ID="11"\n',
    "debian-12": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "debian-13": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n',
    "debian-sid": 'PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n',
    "fedora": 'PRETTY_NAME="Fedora Linux 44"\nID=fedora\nVERSION_ID=44\n',
    "mint": 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nVERSION_ID="22"\nUBUNTU_CODENAME=noble\n',
    "ubuntu-22.04": 'PRETTY_NAME="Ubuntu 22.04 LTS"\nID=ubuntu\nVERSION_ID="22.04"\nUBUNTU_CODENAME=jammy\n',
    "ubuntu-24.04": 'PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu\nVERSION_ID="24.04"\nUBUNTU_CODENAME=noble\n',
}
STUB = """#!{bash}
printf '%s\\n' "$(basename "$0")${{*:+ $*}}" >>"$CALLS"
{behaviour}
"""
STUB_DOCKER = """case "$*" in
  "version --format"*) {version} ;;
  "context inspect"*) echo "${{DOCKER_HOST:-{endpoint}}}" ;;
  --version) echo "{program} version 28.0" ;;
  "compose version"*) {compose} ;;
  "buildx version") {buildx} ;;
  "image ls"*) echo "{images}" ;;
  "info --format"*) echo '{{"runc":{{}}{runtimes}}}' ;;
esac"""
# A Python of the distribution: `-c` says whether it will do, `-m venv` makes one whose pip only records.
STUB_PYTHON = """case "$*" in
  -c*) exit {suits} ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$BASH_SOURCE" "$3/bin/python" ;;
  "-m pip install"*)
    env | grep -E '^(PIP|SSL|https?_proxy)' | sort >>"$CALLS"
    case "$*" in *--requirement*) cat "${{@: -1}}" >>"$CALLS" ;; esac
    {pip}
    for program in uv stack; do cp "$STUBS/$program" "$(dirname "$0")/$program"; done ;;
esac"""


class Machine:
    """What the scripts see; each method sets one fact."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin, self.stubs = folder / "checkout", folder / "bin", folder / "stubs"
        self.files, self.calls = folder / "files", folder / "calls"
        for path in (self.checkout, self.bin, self.stubs, self.files, folder / "home"):
            path.mkdir()
        self.calls.touch()
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts")
        (self.checkout / "pyproject.toml").write_text("[project]\n")
        (self.checkout / "uv.lock").write_text(
            '[[package]]\nname = "numpy"\nversion = "2.0"\n\n[[package]]\nname = "uv"\nversion = "1.2.3"\n'
            f'wheels = [\n    {{ url = "https://files.example/uv.whl", hash = "sha256:{"ab" * 32}" }},\n]\n'
        )
        for tool in REAL_TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.environment = {
            "PATH": str(self.bin), "HOME": str(folder / "home"), "CALLS": str(self.calls),
            "STUBS": str(self.stubs), "STACK_TEST_ROOT": str(self.files),
        }  # fmt: skip
        self.system("debian-12")
        self.user("root", uid=0)
        self.stub("curl", "printf 401")
        self.stub("apt-get", 'case "$1" in indextargets) echo http://mirror.example/debian/ ;; esac')
        for name in ("service", "systemctl", "usermod"):
            self.stub(name)
        self._write(self.stubs / "stack", "")
        self._write(self.stubs / "uv", 'echo "numpy==2.0 --hash=sha256:cd"')

    def _write(self, path: Path, behaviour: str) -> None:
        path.unlink(missing_ok=True)  # never through a link to the real program
        path.write_text(STUB.format(bash=shutil.which("bash"), behaviour=behaviour))
        path.chmod(0o755)

    def stub(self, name: str, behaviour: str = "") -> None:
        self._write(self.bin / name, behaviour)

    @contextmanager
    def after(self, program: str, words: str) -> Iterator[None]:
        """The stubs made inside come to be once `program` has been called with `words`."""
        folder, now = self.stubs / program, self.bin
        folder.mkdir()
        self.bin = folder
        yield
        self.bin = now
        self.stub(program, f'case "$*" in *"{words}"*) cp "$STUBS/{program}/"* "{now}" ;; esac')

    def file(self, path: str, text: str = "") -> None:
        target = self.files / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def system(self, name: str) -> None:
        self.file("/etc/os-release", OS_RELEASE[name])

    def systemd(self) -> None:
        self.file("/run/systemd/system/.keep")

    def user(self, name: str, *, uid: int, groups: str = "") -> None:
        groups = f"{name} {groups}".strip()
        self.stub("id", f'case "$*" in -u) echo {uid} ;; -un) echo {name} ;; -nG*) echo "{groups}" ;; esac')

    def sudo(self, *, password: bool = False) -> None:
        refuse = "exit 1" if password else "exit 0"
        self.stub("sudo", f'if [ "$1" = -n ]; then {refuse}; fi; if [ "$1" != -v ]; then "$@"; fi')

    def sg(self) -> None:
        self.stub("sg", 'shift 2; exec sh -c "$1"')

    def python(self, *, suits: bool = True, name: str = "python3", pip: str = "") -> None:
        self.stub(name, STUB_PYTHON.format(suits=0 if suits else 1, pip=pip))

    def docker(
        self,
        state: str = "ready",
        *,
        endpoint: str = "unix:///var/run/docker.sock",
        program: str = "Docker",
        plugins: str = "compose buildx",
        images: str = "",
        runtimes: str = "",
        package: str = "docker.io",
    ) -> None:
        version = {
            "ready": "echo 28.0",
            "denied": "echo 'permission denied while trying to connect' >&2; exit 1",
            "stopped": "echo 'Cannot connect to the Docker daemon' >&2; exit 1",
        }[state]
        self.stub(
            "docker",
            STUB_DOCKER.format(
                version=version, endpoint=endpoint, program=program, images=images, runtimes=runtimes,
                compose="echo 2.40.3" if "compose" in plugins else "exit 1",
                buildx="echo v0.29" if "buildx" in plugins else "exit 1",
            ),
        )  # fmt: skip
        known = f'*" {package}") printf "install ok installed" ;;'
        self.stub("dpkg-query", f'case "$*" in {known} *) exit 1 ;; esac')
        if package:
            self.file("/usr/sbin/dockerd")
            (self.files / "usr/sbin/dockerd").chmod(0o755)

    def gpu(self, *, driver: bool) -> None:
        self.file("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
        self.file("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
        if driver:
            self.file("/proc/driver/nvidia/version", "NVRM version: 580.95\n")

    def no_registry(self) -> None:
        self.stub("curl", "exit 7")

    def ready(self) -> None:
        """Python, Docker and a registry are here."""
        self.python()
        self.docker()

    def run(self, script: str, *arguments: str, answer: str | None = None, via: Sequence[str] = ()) -> Run:
        """Run a script, without a terminal or with one on which `answer` is typed."""
        self.calls.write_text("")
        argv = [*via, str(self.checkout / "scripts" / script), *arguments]
        done = self._run(argv, subprocess.DEVNULL) if answer is None else self._run_on_terminal(argv, answer)
        stderr, calls = self._neutral(done.stderr), self._neutral(self.calls.read_text())
        return Run(done.returncode, done.stdout, stderr, calls)

    def _run(self, argv: list[str], stdin: int) -> subprocess.CompletedProcess[str]:
        folder = self.checkout.parent
        return subprocess.run(
            argv, env=self.environment, stdin=stdin, capture_output=True, text=True, timeout=60, cwd=folder
        )

    def _run_on_terminal(self, argv: list[str], answer: str) -> subprocess.CompletedProcess[str]:
        ours, theirs = pty.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            return self._run(argv, theirs)
        finally:
            os.close(ours)
            os.close(theirs)

    def _neutral(self, text: str) -> str:
        return text.replace(str(self.checkout), "CHECKOUT").replace(str(self.checkout.parent), "MACHINE")

    def digest(self) -> str:
        """A fingerprint of every file in the checkout."""
        found = hashlib.sha256()
        for path in sorted(self.checkout.rglob("*")):
            found.update(f"{path} {path.stat().st_mtime_ns}\n".encode())
        return found.hexdigest()


class Run:
    """What a script printed, and which programs it called with what."""

    def __init__(self, code: int, stdout: str, stderr: str, calls: str) -> None:
        self.code, self.stdout, self.stderr, self.calls = code, stdout, stderr, calls.splitlines()

    @property
    def commands(self) -> list[str]:
        """The commands of the printed plan."""
        lines = self.stderr.split("Commands that put this right:\n")[1].split("\n\n")[0].splitlines()
        return [line.strip() for line in lines]

    @property
    def lacks(self) -> list[str]:
        lines = self.stderr.split("This machine lacks:\n")[1].split("\n\n")[0].splitlines()
        return [line.removeprefix("  - ") for line in lines]

    def called(self, program: str) -> list[str]:
        return [line for line in self.calls if line.split(" ")[0] == program]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A fresh Debian 12 of root's, with a package archive and a container registry, and nothing else."""
    return Machine(tmp_path)
