"""The layout of a project: who may reach what, as whom, within which limits, and no secret anywhere."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest

from stack.assets import asset_path
from stack.containers.render import render_json, render_override
from stack.operations.access import ALERTMANAGER_CONFIG, API_KEY, GATEWAY_KEY, GRAFANA_PASSWORD
from stack.operations.layout.assemble import EngineChoice, build_layout
from stack.operations.layout.engine import build_model_path
from stack.operations.layout.files import render_files, write_files, write_secrets

SERVICES = ("engine", "prometheus", "grafana", "node-exporter", "gateway")
IMAGES = {name: f"docker.io/acme/{name}@sha256:" + "d" * 64 for name in SERVICES}
PORTS = {"engine": 8001, "prometheus": 9091, "alertmanager": 9094, "grafana": 3001, "gateway": 8081}
GIB = 1024**3
EXPOSED = "[services.gateway]\nexpose = true\n[engine]\napi-key = true\n"


@pytest.fixture
def assemble(make_session, make_snapshot):
    """A function: stack.toml gives the session, the layout and the mounted files."""

    def call(toml="", *, images=IMAGES, device="cpu", args=None, snapshot=None, left_out=None):
        session = make_session(toml)
        files = render_files(session.config, list(images))
        choice = EngineChoice(device, "all", args or {"max-model-len": "auto"}, "tiny")
        layout = build_layout(
            session.config, choice, images, left_out or {}, snapshot or make_snapshot(), PORTS, session.paths, files,
            20 * GIB,
        )  # fmt: skip
        return session, layout, files

    return call


def test_images_are_told_to_compose_exactly_as_they_were_resolved(assemble):
    _, layout, _ = assemble()
    assert {name: service.image for name, service in layout.services.items()} == IMAGES


def test_what_has_no_image_does_not_run_and_the_reason_stays(assemble):
    images = {name: image for name, image in IMAGES.items() if name in ("engine", "prometheus")}
    _, layout, _ = assemble(images=images, left_out={"grafana": "no registry answers"})
    assert list(layout.services) == ["engine", "prometheus"]
    assert layout.left_out == {"grafana": "no registry answers"}


def test_grafana_knows_the_variables_that_its_provisioned_files_name(assemble):
    _, layout, files = assemble("[services.prometheus]\nscrape-interval-seconds = 7\n")
    provisioned = "".join(text for name, text in files.items() if name.startswith("grafana/provisioning/"))
    named = set(re.findall(r"\$(STACK_[A-Z_]+)", provisioned))
    assert named == {"STACK_SCRAPE_INTERVAL"}
    assert layout.services["grafana"].environment["STACK_SCRAPE_INTERVAL"] == "7s"


def test_only_the_gateway_is_published_beyond_loopback(assemble):
    _, layout, _ = assemble('[services.gateway]\nexpose = true\naddress = "192.0.2.7"\n')
    published = {name: (item.address, item.port) for name, item in layout.services.items() if item.port}
    assert published == {
        "engine": ("127.0.0.1", 8001),
        "prometheus": ("127.0.0.1", 9091),
        "grafana": ("127.0.0.1", 3001),
        "gateway": ("192.0.2.7", 8081),
    }


def test_the_engine_runs_the_model_under_its_name_with_the_args(assemble):
    _, layout, _ = assemble(args={"max-model-len": 4096, "enforce-eager": True})
    assert layout.services["engine"].command == (
        "/models/acme--tiny@0123456789ab", "--served-model-name", "tiny", "--enforce-eager", "--max-model-len", "4096",
    )  # fmt: skip


def test_the_engine_sees_the_model_read_only_and_may_write_its_caches_alone(assemble, make_snapshot):
    session, layout, _ = assemble()
    mounts = {mount.target: mount for mount in layout.services["engine"].mounts}
    assert mounts["/models/acme--tiny@0123456789ab"].source == make_snapshot().path
    assert {target for target, mount in mounts.items() if not mount.read_only} == {"/cache"}
    assert mounts["/cache"].source == session.paths.cache


def test_a_model_below_its_mount_is_found_there(assemble, make_snapshot, tmp_path):
    root = tmp_path / "hub"
    snapshot = make_snapshot(path=root / "snapshots/abc", mount_root=root)
    _, layout, _ = assemble(snapshot=snapshot)
    engine = layout.services["engine"]
    assert engine.command[0] == "/models/acme--tiny@0123456789ab/snapshots/abc"
    assert engine.mounts[0].target == "/models/acme--tiny@0123456789ab"
    assert engine.mounts[0].source == root


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "/models/acme--tiny@0123456789ab"),
        ({"id": "/data/My Model (v2)", "kind": "directory", "revision": "sha256:" + "f" * 64},
         "/models/My-Model--v2-@ffffffffffff"),
    ],
)  # fmt: skip
def test_the_models_path_in_the_engine_depends_on_nothing_of_this_machine(make_snapshot, changes, path):
    assert build_model_path(make_snapshot(**changes)) == path


def test_the_users_own_mounts_and_environment_reach_the_engine(assemble, tmp_path):
    (tmp_path / "lora").mkdir()
    toml = f'[engine.mounts]\n"/lora" = "{tmp_path}/lora"\n[engine.env]\nVLLM_LOGGING_LEVEL = "DEBUG"\n'
    _, layout, _ = assemble(toml)
    engine = layout.services["engine"]
    assert (engine.mounts[-1].source, engine.mounts[-1].target) == (tmp_path / "lora", "/lora")
    assert engine.mounts[-1].read_only
    assert engine.environment["VLLM_LOGGING_LEVEL"] == "DEBUG"


def test_an_engine_that_logs_json_is_told_how_and_starts_anew_when_that_changes(assemble):
    text = assemble()[1].services["engine"]
    _, layout, files = assemble('engine.log-format = "json"')
    engine, document = layout.services["engine"], json.loads(files["engine/logging.json"])
    (mount,) = [mount for mount in engine.mounts if mount.source.name == "engine"]
    assert engine.environment["VLLM_LOGGING_CONFIG_PATH"] == f"{mount.target}/logging.json"
    assert mount.read_only
    assert document["filters"]["quiet"]["excluded_paths"] == ["/health", "/metrics", "/ping", "/version"]
    debug = assemble('engine.log-format = "json"\nengine.args.log-level = "DEBUG"')[1].services["engine"]
    assert len({text.stamp, engine.stamp, debug.stamp}) == 3


def test_an_engine_that_logs_text_is_told_nothing_of_logging(assemble):
    _, layout, files = assemble()
    assert "engine/logging.json" not in files
    assert "VLLM_LOGGING_CONFIG_PATH" not in layout.services["engine"].environment


def test_nothing_in_the_engine_looks_anything_up_or_tells_anybody(assemble):
    environment = assemble()[1].services["engine"].environment
    wanted = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
              "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
    assert wanted.items() <= environment.items()


def test_what_the_engine_would_write_at_home_goes_to_its_caches(assemble):
    environment = assemble()[1].services["engine"].environment
    homes = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "VLLM_CACHE_ROOT", "HF_HOME", "CUDA_CACHE_PATH")
    assert all(environment[name].startswith("/cache") for name in homes)


@pytest.mark.parametrize(
    ("uid", "users"),
    [
        (0, {"engine": "2000:0", "grafana": None, "gateway": "65534:65534"}),
        (1000, {"engine": "1000:0", "grafana": "1000:0", "gateway": "1000:0"}),
    ],
)
def test_nobody_runs_as_root_and_each_can_read_its_secret(assemble, monkeypatch, uid, users):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    layout = assemble(EXPOSED)[1]
    assert {name: layout.services[name].user for name in users} == users


def test_every_service_has_a_limit_of_memory(assemble):
    layout = assemble()[1]
    assert all(service.limits.memory for service in layout.services.values())


def test_the_engine_leaves_a_tenth_of_the_memory_to_the_host(assemble):
    assert assemble()[1].services["engine"].limits.memory == f"{20 * 1024 * 9 // 10}m"


def test_limits_of_the_configuration_hold(assemble):
    toml = '[services.engine]\ncpus = 4.5\nmemory = "12g"\n[services.prometheus]\nmemory = "2g"\n'
    layout = assemble(toml)[1]
    assert (layout.services["engine"].limits.cpus, layout.services["engine"].limits.memory) == (4.5, "12g")
    assert layout.services["prometheus"].limits.memory == "2g"


def test_prometheus_keeps_no_more_than_it_may(assemble):
    toml = '[services.prometheus]\nretention-time = "3d"\nretention-size = "512MB"\n'
    command = assemble(toml)[1].services["prometheus"].command
    assert "--storage.tsdb.retention.time=3d" in command
    assert "--storage.tsdb.retention.size=512MB" in command


@pytest.mark.parametrize(("device", "toml", "size"), [
    ("cpu", "", "1g"), ("cuda", "", "8g"), ("cuda", '[engine]\nshm-size = "16g"\n', "16g"),
])  # fmt: skip
def test_shared_memory_follows_the_device_unless_set(assemble, device, toml, size):
    assert assemble(toml, device=device)[1].shm_size == size


def test_an_engine_without_a_key_gets_no_secret(assemble):
    assert assemble()[1].services["engine"].secrets == {}


def test_the_key_reaches_the_engine_under_the_name_that_its_start_script_reads(assemble):
    session, layout, _ = assemble("[engine]\napi-key = true\n")
    assert layout.services["engine"].secrets == {"api_key": session.paths.secrets / "api_key"}
    assert "/run/secrets/api_key" in asset_path("compose", "engine", "serve.sh").read_text()


def test_an_exposed_engine_demands_the_key_that_the_gateway_demands(assemble):
    session, layout, _ = assemble("[services.gateway]\nexpose = true\n")
    assert API_KEY in layout.services["engine"].secrets
    assert layout.services["gateway"].secrets == {GATEWAY_KEY: session.paths.secrets / GATEWAY_KEY}


def test_each_secret_is_read_where_it_is_mounted(assemble):
    _, layout, files = assemble(EXPOSED)
    assert f"/run/secrets/{GATEWAY_KEY}" in files["gateway/nginx.conf"]
    compose = asset_path("compose", "compose.yaml").read_text()
    assert f"GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/{GRAFANA_PASSWORD}" in compose
    assert list(layout.services["grafana"].secrets) == [GRAFANA_PASSWORD]


def test_no_value_of_a_secret_is_in_anything_that_is_rendered(assemble):
    session, layout, files = assemble(EXPOSED)
    write_secrets(session.config, list(layout.services), session.paths)
    # Decided anew, now that the secrets are there.
    session, layout, files = assemble(EXPOSED)
    texts = [render_json(render_override(layout)), *files.values()]
    texts += [json.dumps([service.command, dict(service.environment)]) for service in layout.services.values()]
    made = list(session.paths.secrets.iterdir())
    assert {path.name for path in made} == {API_KEY, GATEWAY_KEY, GRAFANA_PASSWORD}
    for path in made:
        secret = path.read_text().strip()
        for part in re.findall(r"[\w-]{16,}", secret.replace("secure_link_md5", "")):
            assert not any(part in text for text in texts if part != "stack_presented_key"), path.name


def test_secrets_are_files_for_their_reader_alone(assemble):
    session, layout, _ = assemble(EXPOSED)
    write_secrets(session.config, list(layout.services), session.paths)
    for path in session.paths.secrets.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.root
def test_as_root_each_secret_belongs_to_the_user_of_its_container(assemble):
    session, layout, _ = assemble(EXPOSED)
    write_secrets(session.config, list(layout.services), session.paths)
    owners = {path.name: path.stat().st_uid for path in session.paths.secrets.iterdir()}
    assert owners == {API_KEY: 2000, GATEWAY_KEY: 65534, GRAFANA_PASSWORD: 472}


def test_a_second_up_makes_no_other_secrets_and_no_other_layout(assemble):
    session = assemble(EXPOSED)[0]
    write_secrets(session.config, SERVICES, session.paths)
    before = {path.name: path.read_text() for path in session.paths.secrets.iterdir()}
    first = assemble(EXPOSED)[1]
    write_secrets(session.config, SERVICES, session.paths)
    assert {path.name: path.read_text() for path in session.paths.secrets.iterdir()} == before
    assert render_override(assemble(EXPOSED)[1]) == render_override(first)


def test_a_new_key_starts_anew_what_reads_it_and_nothing_else(assemble):
    session = assemble(EXPOSED)[0]
    write_secrets(session.config, SERVICES, session.paths)
    before = assemble(EXPOSED)[1].services
    (session.paths.secrets / API_KEY).unlink()
    write_secrets(session.config, SERVICES, session.paths)
    after = assemble(EXPOSED)[1].services
    assert {name for name in SERVICES if before[name].stamp != after[name].stamp} == {"engine", "gateway"}


@pytest.mark.parametrize(
    ("toml", "changed"),
    [
        ("[services.prometheus]\nscrape-interval-seconds = 7\n", {"prometheus"}),
        ("[services.gateway]\nexpose = true\nburst = 7\n", {"gateway"}),
        ("[services.gateway]\nexpose = true\n[slo.ttft]\nseconds = 1\n", {"prometheus"}),
        ("[services.gateway]\nexpose = true\n[slo]\nenabled = false\n", {"prometheus"}),
        ("[services.gateway]\nexpose = true\n[smoke]\nconcurrency = 4\n", set()),
        ("[services.gateway]\nexpose = true\n[engine.args]\nmax-num-seqs = 4\n", set()),
    ],
)
def test_a_stamp_changes_with_the_files_of_its_service_alone(assemble, toml, changed):
    before = assemble("[services.gateway]\nexpose = true\n")[1].services
    after = assemble(toml)[1].services
    assert {name for name in SERVICES if before[name].stamp != after[name].stamp} == changed


def test_a_target_that_comes_or_goes_does_not_restart_prometheus(assemble):
    both = {name: image for name, image in IMAGES.items() if name in ("engine", "prometheus")}
    one, other = assemble()[1].services["prometheus"], assemble(images=both)[1].services["prometheus"]
    assert one.stamp == other.stamp


def test_every_mounted_folder_is_one_that_is_written(assemble, make_snapshot):
    session, layout, files = assemble(EXPOSED)
    write_files(session.paths, files)
    for service in layout.services.values():
        for mount in service.mounts:
            if mount.source.is_relative_to(session.paths.rendered):
                assert any(mount.source.iterdir()), mount.source


def test_rendered_files_are_readable_for_every_container_whatever_the_umask(make_session):
    session = make_session()
    before = os.umask(0o077)
    try:
        write_files(session.paths, render_files(session.config, ["engine", "prometheus", "grafana"]))
    finally:
        os.umask(before)
    for path in [session.paths.rendered, *session.paths.rendered.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_files_of_a_service_that_went_are_removed_and_the_override_stays(make_session):
    session = make_session("[services.gateway]\nexpose = true\n")
    write_files(session.paths, render_files(session.config, ["engine", "prometheus", "gateway"]))
    session.paths.override.write_text("{}")
    write_files(session.paths, render_files(session.config, ["engine", "prometheus"]))
    assert not (session.paths.rendered / "gateway/nginx.conf").exists()
    assert session.paths.override.is_file()
    assert (session.paths.rendered / "engine/serve.sh").is_file()


def test_the_shipped_rules_and_dashboards_are_among_the_files(make_session):
    files = render_files(make_session().config, ["engine", "prometheus", "grafana"])
    folders = {Path(name).parts[:2] for name in files}
    assert {
        ("prometheus", "rules"), ("grafana", "dashboards"), ("grafana", "provisioning"), ("prometheus", "targets"),
    } <= folders  # fmt: skip


def test_objectives_become_rules_beside_the_shipped_ones_unless_they_are_switched_off(make_session):
    name = "prometheus/rules/slo.yaml"
    default = render_files(make_session().config, ["engine", "prometheus"])[name]
    asked = render_files(make_session("slo.availability = 0.9\nslo.ttft.seconds = 1").config, ["engine", "prometheus"])
    assert 'le=\\"2.5\\"' in default and 'le=\\"1.0\\"' in asked[name] and "vector(0.9)" in asked[name]
    assert name not in render_files(make_session("slo.enabled = false").config, ["engine", "prometheus"])


ALERTING = "[services.alertmanager]\nenabled = true\nwebhook-url-file = 'url'\n"


@pytest.fixture
def alerting(assemble, tmp_path):
    """A function: an address gives the session, the layout and the files of a stack that sends alerts to it."""

    def call(url="https://hooks.example/token"):
        (tmp_path / "url").write_text(url + "\n")
        images = {name: f"localhost/acme/{name}:1" for name in ("engine", "prometheus", "alertmanager")}
        session, layout, files = assemble(ALERTING, images=images)
        write_secrets(session.config, list(layout.services), session.paths)
        return session, layout, files

    return call


def test_prometheus_sends_alerts_only_where_there_is_an_alertmanager(assemble, alerting):
    name = "prometheus/prometheus.yaml"
    assert "alerting:" in alerting()[2][name]
    assert "alerting:" not in assemble()[2][name]


def test_where_alerts_are_sent_is_a_secret_of_alertmanager_alone(alerting):
    session, layout, files = alerting()
    path = session.paths.secrets / ALERTMANAGER_CONFIG
    assert "https://hooks.example/token" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [name for name, service in layout.services.items() if path in service.secrets.values()] == ["alertmanager"]
    assert "hooks.example" not in "".join(files.values()) + render_json(render_override(layout))


def test_another_address_starts_alertmanager_anew_and_nothing_else(alerting):
    before, after = alerting()[1].services, alerting("https://hooks.example/other")[1].services
    assert [name for name in before if before[name].stamp != after[name].stamp] == ["alertmanager"]


def test_alertmanager_is_published_on_loopback_and_nobody_s(alerting):
    service = alerting()[1].services["alertmanager"]
    assert (service.address, service.port) == ("127.0.0.1", PORTS["alertmanager"])
    assert service.user and not service.user.startswith("0:")
