"""What runs against what configuration and lock come to: containers as Docker would tell them, made from a layout."""

from __future__ import annotations

import json

import pytest

from stack.config.lock import Lock, LockedImage, LockedModel
from stack.containers.definition import parse_rendered
from stack.containers.render import render_override
from stack.operations.engine_defaults import choose_engine_defaults
from stack.operations.layout.assemble import build_layout
from stack.operations.layout.engine import EngineChoice
from stack.operations.layout.files import render_files
from stack.operations.project import ProjectFacts, write_facts
from stack.operations.status import drift as module
from stack.operations.status import read as status_module
from stack.operations.status.drift import find_drift
from stack.operations.status.read import read_status

GIB = 1024**3
DIGEST, OTHER = "sha256:" + "d" * 64, "sha256:" + "0" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISION = COMMIT
BASE = '[model]\nid = "acme/tiny"\n'
NAMES = ("engine", "prometheus", "grafana", "node-exporter")
IMAGES = {name: f"docker.io/acme/{name}@{DIGEST}" for name in NAMES}
PORTS = {"engine": 8001, "prometheus": 9091, "grafana": 3001}
CLIENT = object()


def build_lock(**images):
    keys = {"engine/cpu": "engine", "prometheus": "prometheus", "grafana": "grafana", "node-exporter": "node-exporter"}
    locked = {
        key: LockedImage(reference=f"docker.io/acme/{name}:1", digest=DIGEST, source="registry")
        for key, name in keys.items()
    }
    return Lock(images=locked | images, model=LockedModel(id="acme/tiny", revision=REVISION))


@pytest.fixture
def snapshot(make_snapshot, monkeypatch):
    found = make_snapshot()
    monkeypatch.setattr(module, "find_snapshot", lambda reference, **rest: found if reference.id == found.id else None)
    monkeypatch.setattr(module, "read_total_memory_bytes", lambda: 32 * GIB)
    return found


@pytest.fixture
def start(make_session, make_inspected, make_state, snapshot, monkeypatch):
    """A function: a stack.toml is brought up; then another one (or the same), services and a lock give the drift."""

    def inspect(name, service, project):
        definition = parse_rendered(service)
        address, _, port = (definition.published or "").rpartition(":")
        state = make_state(name, image=definition.image, host_port=int(port) if port else None)
        mounts = [
            {"Type": "bind", "Source": source, "Destination": target} for target, source in definition.mounts.items()
        ]
        mounts += [{"Type": "bind", "Source": "/x", "Destination": target} for target in definition.secrets]
        document = make_inspected(
            state, project,
            Config={
                "Cmd": list(definition.command), "User": definition.user or "",
                "Env": [f"{key}={value}" for key, value in definition.environment.items()],
            },
            HostConfig={
                "Memory": definition.memory_bytes, "NanoCpus": int((definition.cpus or 0) * 1e9),
                "ShmSize": definition.shm_bytes,
                "PortBindings": {"1/tcp": [{"HostIp": address, "HostPort": port}]} if port else {},
            },
            Mounts=mounts,
        )  # fmt: skip
        document["Config"]["Labels"]["dev.stack.config"] = definition.stamp
        return document

    def call(
        before=BASE,
        after=None,
        *,
        names=NAMES,
        gone=(),
        lock=None,
        keep_override=True,
        facts=None,
        change=None,
        edit=None,
        image_environment=(),
    ):
        session = make_session(before)
        config = session.config
        defaults = choose_engine_defaults("cpu", config.engine.args, memory_bytes=32 * GIB)
        args = {item.name: item.value for item in defaults} | dict(config.engine.args)
        choice = EngineChoice("cpu", "all", args, config.model.served_name or snapshot.served_name)
        layout = build_layout(
            config, choice, {name: IMAGES[name] for name in names},
            {}, snapshot, PORTS, session.paths, render_files(config, names), 32 * GIB,
        )  # fmt: skip
        rendered = render_override(layout)["services"]
        documents = [inspect(name, rendered[name], session.project) for name in names if name not in gone]
        if change is not None:
            change({item["Config"]["Labels"]["com.docker.compose.service"]: item for item in documents})
        monkeypatch.setattr(status_module, "read_attributes", lambda client, project: documents)
        monkeypatch.setattr(
            status_module, "read_image", lambda client, name: {"Id": name, "Config": {"Env": [*image_environment]}}
        )
        monkeypatch.setattr(status_module, "load_project_lock", lambda session: lock or build_lock())
        session = make_session(before if after is None else after)
        if facts is not None:
            write_facts(session.paths.facts, facts)
        status = read_status(session, CLIENT)
        rendered = json.loads(json.dumps(rendered))
        if edit is not None:
            edit(rendered)
        found = find_drift(session, status, rendered if keep_override else {})
        return [(item.service, item.what, item.wanted, item.found) for item in found]

    return call


def test_what_was_just_brought_up_differs_in_nothing(start):
    assert start() == []
    assert start(keep_override=False) == [], "a lost state is no difference"


def test_what_the_image_sets_just_as_the_service_does_is_no_difference(start):
    assert start(image_environment=["PATH=/opt/vllm/bin", "DO_NOT_TRACK=1", "HF_HUB_OFFLINE=1"]) == []

    def drop(documents):
        documents["engine"]["Config"]["Env"].remove("DO_NOT_TRACK=1")

    told = start(image_environment=["DO_NOT_TRACK=1"], change=drop)
    assert told == [("engine", "environment DO_NOT_TRACK", "set", None)]


CHANGES = [
    ("[engine.args]\nmax-model-len = 1024\n", [("engine", "arg max-model-len", "1024", "auto")]),
    ("[engine.args]\nenforce-eager = false\n", [
        ("engine", "arg enforce-eager", None, "given"), ("engine", "arg no-enforce-eager", "given", None),
    ]),
    ('[engine.env]\nMINE = "hidden"\n', [("engine", "environment MINE", "set", None)]),
    ("[services.engine]\nport = 8123\n", [("engine", "address and port", "127.0.0.1:8123", "127.0.0.1:8001")]),
    ('[services.engine]\nmemory = "4g"\n', [
        ("engine", "memory limit in bytes", str(4 * GIB), str(32 * GIB * 9 // 10 // 1024**2 * 1024**2)),
    ]),
    ("[services.engine]\ncpus = 2.5\n", [("engine", "CPU limit", "2.5", None)]),
    ('[services.prometheus]\nretention-time = "3d"\n', [
        ("prometheus", "arg storage.tsdb.retention.time", "3d", "15d"),
    ]),
    ("[services.prometheus]\nport = 9999\n", [("prometheus", "address and port", "127.0.0.1:9999", "127.0.0.1:9091")]),
    ("[services.grafana]\nenabled = false\n", [("grafana", "service", None, "runs")]),
    ('[services.grafana]\nimage = "docker.io/other/grafana:2"\n', [
        ("grafana", "image", "docker.io/other/grafana:2", IMAGES["grafana"]),
    ]),
    (f'[engine]\nimage = "{OTHER}"\n', [("engine", "image", OTHER, IMAGES["engine"])]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "drift"), CHANGES, ids=lambda value: value.splitlines()[1] if isinstance(value, str) else ""
)
def test_an_edit_of_the_configuration_is_told_by_what_it_changes(start, more, drift):
    assert start(after=BASE + more) == drift


def test_what_was_taken_out_of_the_configuration_is_told_too(start):
    before = BASE + '[engine.args]\nmax-num-seqs = 4\n[engine.env]\nMINE = "x"\n'
    assert start(before, BASE) == [
        ("engine", "arg max-num-seqs", None, "4"),
        ("engine", "environment MINE", None, "not the same"),
    ]


def test_an_interval_that_reaches_prometheus_through_a_file_is_a_difference(start):
    told = start(after=BASE + "[services.prometheus]\nscrape-interval-seconds = 15\n")
    assert ("prometheus", "mounted configuration") in [item[:2] for item in told]
    assert ("grafana", "environment STACK_SCRAPE_INTERVAL") in [item[:2] for item in told]


def test_a_service_that_died_is_no_drift_but_one_that_was_switched_on_is(start):
    without = ("engine", "prometheus", "node-exporter")
    assert start(gone=("grafana",)) == []
    assert start(names=without) == [("grafana", "service", "enabled", None)]
    assert start(names=without, facts=ProjectFacts(left_out={"grafana": "no registry"})) == []


def test_another_lock_is_another_image(start):
    lock = build_lock(prometheus=LockedImage(reference="docker.io/acme/prometheus:2", digest=OTHER, source="registry"))
    wanted = f"docker.io/acme/prometheus:2@{OTHER}"
    assert start(lock=lock) == [("prometheus", "image", wanted, IMAGES["prometheus"])]


def test_an_image_that_goes_by_the_id_seen_under_the_locked_digest_is_the_same(start):
    def by_id(documents):
        documents["prometheus"]["Config"]["Image"] = documents["prometheus"]["Image"]

    known = ProjectFacts(image_ids={IMAGES["prometheus"]: "sha256:" + "e" * 64})
    assert [item[1] for item in start(change=by_id)] == ["image"]
    assert start(change=by_id, facts=known) == []


def test_a_built_image_is_known_by_the_tag_of_its_recipe(start):
    built = LockedImage(reference="localhost/stack/prometheus:x", source="packages")
    assert start(lock=build_lock(prometheus=built))[0] == (
        "prometheus", "image", "localhost/stack/prometheus:x", IMAGES["prometheus"],
    )  # fmt: skip


def test_another_model_is_told_by_its_name(start):
    # Which model runs is read from the command line, the history knowing nothing of this container.
    assert start(after='[model]\nid = "acme/other"\n') == [("engine", "model", "acme/other", "acme--tiny")]


def test_another_device_leaves_nothing_else_to_compare(start):
    told = start(after=BASE + '[engine]\ndevice = "cuda"\n[engine.args]\nmax-model-len = 5\n')
    assert told == [("engine", "device", "cuda", "cpu")]


def test_a_container_that_somebody_made_otherwise_is_told(start):
    def raise_seqs(documents):
        documents["engine"]["Config"]["Cmd"] += ["--max-num-seqs", "9"]

    assert start(change=raise_seqs) == [("engine", "arg max-num-seqs", None, "9")]


def test_nothing_that_runs_differs_in_nothing(start):
    assert start(gone=NAMES, after=BASE + "[services.engine]\nport = 8123\n") == []


def test_an_override_on_disk_that_is_another_or_damaged_is_told(start):
    def edit(rendered):
        rendered["engine"]["user"] = "9:9"
        rendered["prometheus"]["ports"] = 5

    told = start(edit=edit)
    assert told[0][:2] == ("engine", "user in the rendered override")
    assert told[0][3] == "9:9"
    assert told[1:] == [("prometheus", "rendered override", "readable", "damaged")]
