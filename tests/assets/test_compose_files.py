"""What Compose makes of the shipped files and an override, in every combination: hardening, networks, devices."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack.assets import asset_path
from stack.config.load import load_config
from stack.containers.render import render_json, render_override
from stack.models.snapshot import Snapshot
from stack.operations.layout.assemble import EngineChoice, build_layout
from stack.operations.layout.files import render_files
from stack.operations.project import ProjectPaths

PORTS = {"engine": 8001, "prometheus": 9091, "alertmanager": 9094, "grafana": 3001, "gateway": 8081}
COMBINATIONS = [
    pytest.param(SimpleNamespace(device=device, exposed=exposed, grafana=grafana, alerting=alerting),
                 id=f"{device}{'-exposed' if exposed else ''}{'' if grafana else '-without-grafana'}"
                    f"{'-alerting' if alerting else ''}")
    for device, exposed, grafana in itertools.product(("cpu", "cuda"), (False, True), (False, True))
    # Alertmanager changes nothing of the others: with everything and with the least is enough.
    for alerting in ((False, True) if exposed == grafana else (False,))
]  # fmt: skip


def list_services(combination) -> list[str]:
    names = ["engine", "prometheus", "node-exporter"]
    names += ["grafana"] if combination.grafana else []
    names += ["alertmanager"] if combination.alerting else []
    names += ["dcgm-exporter"] if combination.device == "cuda" else []
    return names + (["gateway"] if combination.exposed else [])


@pytest.fixture
def make_override(tmp_path):
    """A function: a combination gives its Compose files, the override among them."""

    def make(combination, devices="all") -> list[Path]:
        toml = tmp_path / "stack.toml"
        toml.write_text(f"[services.gateway]\nexpose = {str(combination.exposed).lower()}\n")
        config = load_config(toml, {"HOME": str(tmp_path)}).config
        model = tmp_path / "models/m"
        snapshot = Snapshot("hub", "acme/tiny", "0" * 40, model, (), "tiny", model)
        images = {name: f"docker.io/acme/{name}@sha256:" + "d" * 64 for name in list_services(combination)}
        layout = build_layout(
            config,
            EngineChoice(combination.device, devices, {"max-model-len": "auto"}, "tiny"),
            images,
            {},
            snapshot,
            PORTS,
            ProjectPaths(tmp_path / "state", tmp_path / "cache"),
            render_files(config, list(images)),
            16 * 1024**3,
        )
        override = tmp_path / "override.json"
        override.write_text(render_json(render_override(layout)))
        return [*(asset_path("compose", name) for name in layout.compose_files), override]

    return make


@pytest.fixture
def merge(make_override, tmp_path):
    """A function: a combination gives the document that Compose makes of its files."""

    def call(combination, devices="all") -> dict:
        files = make_override(combination, devices)
        argv = ["docker", "compose", "--project-name", "mine", "--project-directory", str(tmp_path)]
        for path in files:
            argv += ["--file", str(path)]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        done = subprocess.run([*argv, "config", "--format", "json"], capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "", "Compose warns of something"
        return json.loads(done.stdout)

    return call


pytestmark = pytest.mark.docker
every = pytest.mark.parametrize("combination", COMBINATIONS)


@every
def test_exactly_the_wanted_services_are_there(merge, combination):
    assert sorted(merge(combination)["services"]) == sorted(list_services(combination))


@every
def test_every_service_is_hardened(merge, combination):
    for name, service in merge(combination)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert 0 < service["pids_limit"] <= 4096, name
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "extra_hosts"} & set(service)
        assert service.get("userns_mode") is None, name


@every
def test_every_service_has_limits_of_memory_and_log_size(merge, combination):
    for name, service in merge(combination)["services"].items():
        assert service["logging"]["driver"] == "json-file", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert int(service["mem_limit"]) > 0, name
        assert service["memswap_limit"] == service["mem_limit"], name


@every
def test_only_the_gateway_is_published_beyond_loopback(merge, combination):
    addresses = {
        name: [port["host_ip"] for port in service.get("ports", [])]
        for name, service in merge(combination)["services"].items()
    }
    beyond = {name for name, found in addresses.items() if set(found) - {"127.0.0.1"}}
    assert beyond == ({"gateway"} if combination.exposed else set())
    assert {name for name, found in addresses.items() if not found} <= {"node-exporter", "dcgm-exporter"}


@every
def test_no_service_can_ask_the_daemon(merge, combination):
    for name, service in merge(combination)["services"].items():
        sources = [mount.get("source", "") for mount in service.get("volumes", [])]
        assert not any("docker.sock" in source or source in ("/run", "/var/run", "/var") for source in sources), name
        # node-exporter sees the whole file system: it may write nothing of it, and is nobody.
        whole = [mount for mount in service.get("volumes", []) if mount.get("source") == "/"]
        assert all(mount["read_only"] for mount in whole), name
        assert not whole or name == "node-exporter"


@every
def test_every_mount_of_a_folder_is_read_only_but_the_engines_caches(merge, combination):
    services = merge(combination)["services"]
    writable = [
        (name, mount["target"])
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind" and not mount.get("read_only")
    ]
    assert writable == [("engine", "/cache")]


@every
def test_nothing_is_pulled_built_or_started_by_a_dependency(merge, combination):
    for name, service in merge(combination)["services"].items():
        assert service["pull_policy"] == "never", name
        assert not {"build", "depends_on", "links"} & set(service), name


@every
def test_only_what_must_talk_shares_a_network(merge, combination):
    document = merge(combination)
    members: dict[str, set[str]] = {}
    for name, service in document["services"].items():
        for network in service["networks"]:
            members.setdefault(network, set()).add(name)
    exporters = {"node-exporter"} | ({"dcgm-exporter"} if combination.device == "cuda" else set())
    grafana = {"grafana"} if combination.grafana else set()
    alerting = {"alertmanager"} if combination.alerting else set()
    expected = {
        "edge": {"engine", "prometheus"} | grafana | alerting,
        "metrics": {"engine", "prometheus"} | exporters | alerting,
        "dashboards": {"prometheus"} | grafana,
    }
    if combination.exposed:
        expected |= {"serving": {"engine", "gateway"}, "gateway-edge": {"gateway"}}
    assert members == expected


@every
def test_a_network_that_publishes_lets_nobody_talk_and_one_for_talking_leads_nowhere(merge, combination):
    networks = merge(combination)["networks"]
    for name, network in networks.items():
        publishes = name.endswith("edge")
        assert network.get("internal", False) is not publishes, name
        icc = network.get("driver_opts", {}).get("com.docker.network.bridge.enable_icc")
        assert icc == ("false" if publishes else None), name


@every
def test_each_service_is_called_by_a_name_of_one_network(merge, combination):
    # A bare service name would resolve on `edge` too, where nobody answers.
    files = "\n".join(
        path.read_text() for folder in ("prometheus", "grafana") for path in asset_path(folder).rglob("*.yaml")
    )
    for name, service in merge(combination)["services"].items():
        for network, settings in service["networks"].items():
            for alias in (settings or {}).get("aliases", []):
                assert alias == f"{name}.{network}"
    for name in ("engine", "prometheus", "grafana", "node-exporter", "dcgm-exporter"):
        assert not re.search(rf"(?<![\w./-]){name}:\d", files), name


@every
def test_a_crashing_engine_gives_up_and_the_others_come_back(merge, combination):
    services = merge(combination)["services"]
    policies = {name: service["restart"] for name, service in services.items()}
    assert re.fullmatch(r"on-failure:\d+", policies.pop("engine"))
    assert set(policies.values()) == {"unless-stopped"}


@every
def test_no_secret_is_environment(merge, combination):
    document = merge(combination)
    for name, service in document["services"].items():
        for key, value in (service.get("environment") or {}).items():
            is_secret = re.search(r"PASSWORD|TOKEN|SECRET|API_KEY", key)
            assert not is_secret or str(value).startswith("/run/secrets/"), (name, key)
    for name, secret in document.get("secrets", {}).items():
        assert set(secret) == {"name", "file"}, name


@every
def test_what_every_service_may_write_outside_its_volumes_is_memory(merge, combination):
    for name, service in merge(combination)["services"].items():
        if name != "node-exporter":
            assert any(entry.split(":")[0] == "/tmp" for entry in service["tmpfs"]), name
    engine = merge(combination)["services"]["engine"]
    assert "exec" in engine["tmpfs"][0], "kernels that are compiled at run time are loaded from there"


@every
def test_telemetry_is_off(merge, combination):
    services = merge(combination)["services"]
    assert services["engine"]["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    if combination.grafana:
        environment = services["grafana"]["environment"]
        for name in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES"):
            assert environment[f"GF_ANALYTICS_{name}"] == "false"
        assert environment["GF_NEWS_NEWS_FEED_ENABLED"] == "false"
        assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


CUDA = SimpleNamespace(device="cuda", exposed=False, grafana=False, alerting=False)


@pytest.mark.parametrize(
    ("devices", "reserved"),
    [("all", {"count": -1}), (2, {"count": 2}), (("0", "GPU-4f1a"), {"device_ids": ["0", "GPU-4f1a"]})],
)
def test_the_reservation_of_gpus_survives_the_merge(merge, devices, reserved):
    services = merge(CUDA, devices)["services"]
    for name in ("engine", "dcgm-exporter"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "capabilities": ["gpu"], **reserved}
    assert "deploy" not in services["prometheus"]
    assert services["engine"]["environment"]["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert services["engine"]["shm_size"] == str(8 * 1024**3)


def test_a_cpu_engine_reserves_nothing(merge):
    engine = merge(SimpleNamespace(device="cpu", exposed=False, grafana=True, alerting=False))["services"]["engine"]
    assert "deploy" not in engine
    assert engine["shm_size"] == str(1024**3)


def test_the_same_override_gives_the_same_hashes(make_override, tmp_path):
    def read_hashes():
        argv = ["docker", "compose", "--project-name", "mine", "--project-directory", str(tmp_path)]
        for path in make_override(CUDA):
            argv += ["--file", str(path)]
        return subprocess.run([*argv, "config", "--hash", "*"], capture_output=True, text=True, check=True).stdout

    assert read_hashes() == read_hashes()
