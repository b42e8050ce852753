"""What holds for every test: an environment of its own, and a need that is not here is told with its cure."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

SCENARIOS = "tests/scenarios/"
# Set for the tests themselves, not for the tool: the only variables of ours that they see.
KNOBS = ("STACK_REQUIRE", "STACK_KEEP_FAILED")
KNOB_PREFIX = "STACK_TEST_"
HUB_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE")
XDG = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}


def pytest_configure() -> None:
    # A shell that starts the tests in the background has them ignore SIGINT, and so would every process that a test
    # starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine is no fault of what is tested.
    hypothesis.settings.register_profile("stack", deadline=None)
    hypothesis.settings.load_profile("stack")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several workers share the tests, one has all scenarios: two at a time would wait for one daemon's disk."""
    # By its own `loadgroup` xdist 3.8 groups nothing under pytest 9.2, which does not let it rename a test.
    from xdist.scheduler import LoadScopeScheduling

    class OneScenarioAtATime(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "scenarios" if nodeid.startswith(SCENARIOS) else nodeid.partition("::")[0]

    return OneScenarioAtATime(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, where several workers share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(SCENARIOS))


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Give homes that nobody has used; fixtures that outlive one test get one as well."""
    base = tmp_path_factory.mktemp("homes")
    made = (base / str(number) for number in itertools.count())
    docker_config = Path.home() / ".docker"
    with pytest.MonkeyPatch.context() as patch:
        if "DOCKER_CONFIG" not in os.environ and docker_config.is_dir():
            # The docker CLI's contexts belong to the machine, not to what a test isolates.
            patch.setenv("DOCKER_CONFIG", str(docker_config))
        isolate(patch, next(made))
        yield made


@pytest.fixture(autouse=True)
def home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the test as a user who has never run the tool, in a terminal of 100 columns without colours."""
    folder = next(homes)
    isolate(monkeypatch, folder)
    return folder


def isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir()
    patch.setenv("HOME", str(home))
    for name, folder in XDG.items():
        patch.setenv(f"XDG_{name}_HOME", str(home / folder))
    for name in list(os.environ):
        if name.startswith("STACK_") and name not in KNOBS and not name.startswith(KNOB_PREFIX):
            patch.delenv(name)
    for name in (*HUB_VARIABLES, "FORCE_COLOR", "CLICOLOR_FORCE"):
        patch.delenv(name, raising=False)
    patch.setenv("NO_COLOR", "1")
    patch.setenv("COLUMNS", "100")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose need is not here; where STACK_REQUIRE names the need, fail it."""
    required = os.environ.get("STACK_REQUIRE", "").replace(",", " ").split()
    for need, find_reason in NEEDS.items():
        reason = find_reason() if item.get_closest_marker(need) is not None else None
        if reason is not None and need in required:
            pytest.fail(f"STACK_REQUIRE demands `{need}`: {reason}", pytrace=False)
        if reason is not None:
            pytest.skip(reason)


@functools.cache
def find_docker_reason() -> str | None:
    if shutil.which("docker") is None:
        return "needs Docker, which is not installed: ./scripts/test installs it"
    for argv in (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "compose", "version"]):
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            return f"needs a Docker engine with Compose v2: ./scripts/test gets them ({' '.join(said)})"
    return None


@functools.cache
def find_gpu_reason() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as err:
        return f"needs an NVIDIA GPU with its driver: run it on a machine that has one ({err})"
    return None


@functools.cache
def find_network_reason() -> str | None:
    url = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    try:
        context = ssl.create_default_context(cafile=certificates)
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10, context=context)
    except (urllib.error.URLError, OSError, ValueError) as err:
        return f"needs the package registries: see proxy, PIP_INDEX_URL and PIP_CERT ({err})"
    return None


def find_grafana_reason() -> str | None:
    if os.environ.get("STACK_TEST_GRAFANA_IMAGE"):
        return find_docker_reason()
    return "needs a Grafana image: STACK_TEST_GRAFANA_IMAGE=docker.io/grafana/grafana:<tag> names one"


def find_root_reason() -> str | None:
    return None if os.geteuid() == 0 else "needs root on this machine: sudo ./scripts/test"


NEEDS: dict[str, Callable[[], str | None]] = {
    "docker": find_docker_reason,
    "gpu": find_gpu_reason,
    "network": find_network_reason,
    "grafana": find_grafana_reason,
    "root": find_root_reason,
}
