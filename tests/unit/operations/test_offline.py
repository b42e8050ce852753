"""`offline`: nobody is asked, whatever is configured, and everything that is missing is named at once."""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path

import pytest

from stack.config.lock import Lock, LockedEngine, LockedFile, LockedImage, LockedModel, write_lock
from stack.errors import ImageError, ModelError
from stack.models.ensure import ensure_snapshot
from stack.models.reference import parse_model_reference
from stack.operations import resolve
from stack.operations.doctor import run as doctor
from stack.operations.doctor.no_daemon import NoDaemon
from stack.operations.images.fetch import ImageFetcher
from stack.operations.images.pinned_engine import find_commit_image, find_commit_wheel, open_http
from stack.operations.offline import OfflineError, demand_here, demand_nothing, find_missing_model
from stack.operations.pin.check import run_check
from stack.operations.pin.run import run_pin
from stack.operations.warm import run_warm

ROOT = Path(__file__).resolve().parents[3]
COMMIT, REVISION = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
DIGEST = "sha256:" + "a" * 64
PLACE = f"docker.io/vllm/vllm-openai-cpu:nightly-{COMMIT}"
DEMO = 'offline = true\n[model]\nid = "demo"\n'


class Daemon(NoDaemon):
    """A daemon that has these images: name -> inspect document."""

    def __init__(self, **images):
        super().__init__()
        self.here = images

    def get(self, name):
        if name not in self.here:
            return super().get(name)
        return type("Image", (), {"attrs": self.here[name]})()

    def info(self):
        return {}


@pytest.fixture
def asked(monkeypatch):
    """Whom this process tried to reach: to connect and to look up a name fail, and are noted."""
    tried = []

    def refuse(*arguments, **options):
        tried.append(arguments)
        raise OSError("sockets are forbidden here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


def write_engine_lock(folder, source="registry", digest=DIGEST, reference=PLACE, **model):
    images = {"engine/cpu": LockedImage(reference=reference, digest=digest, device="cpu", source=source)}
    engine = LockedEngine(commit=COMMIT, commit_level="claimed", accepted="claimed", pinned=COMMIT)
    write_lock(folder / "stack.lock", Lock(engine=engine, images=images, **model))


def look(session, daemon=None):
    found = resolve.resolve(session, daemon or Daemon())
    demand_here(session.config, found)
    return found


CONFIGURED = {
    "nothing": "",
    "a hub model": '[model]\nid = "acme/x"\nrevision = "main"\n',
    "registry": '[images]\nsource = "registry"\n',
    "packages": '[images]\nsource = "packages"\n',
    "a release": '[engine]\nversion = "0.29.0"\n',
    "a commit": f'[engine]\ncommit = "{COMMIT}"\n',
    "a claimed commit": f'[engine]\ncommit = "{COMMIT}"\naccept = "claimed"\n',
    "a commit from packages": f'[engine]\ncommit = "{COMMIT}"\naccept = "claimed"\n[images]\nsource = "packages"\n',
    "an image": '[engine]\nimage = "registry.example/x:1"\n',
    "an image by its ID": f'[engine]\nimage = "{DIGEST}"\n',
    "a mirror": '[images]\nmirror = {"docker.io" = "mirror.example:5000"}\n',
}


@pytest.mark.parametrize("toml", CONFIGURED.values(), ids=CONFIGURED)
def test_nobody_is_asked_whatever_is_configured(make_session, asked, toml):
    session = make_session(f"offline = true\n{toml}")
    with pytest.raises(ImageError) as caught:
        look(session)
    assert asked == []
    said = str(caught.value)
    assert said.startswith("offline: as asked, and this is not on this machine:") and caught.value.exit_code == 9
    assert "- the image of engine (" in said and "- the image of prometheus (" in said and "- the model " in said
    assert "stack bundle load FILE" in caught.value.hint and "stack warm" in caught.value.hint


@pytest.mark.parametrize("toml", [CONFIGURED["nothing"], CONFIGURED["a claimed commit"]])
def test_the_same_without_offline_would_have_asked(make_session, asked, toml):
    with contextlib.suppress(ImageError):
        resolve.resolve(make_session(f"{toml}\n[images]\nretries = 0\n"), Daemon())
    assert asked


@pytest.mark.parametrize("source", ["registry", "packages"])
def test_a_lock_is_obeyed_and_its_digest_named(make_session, asked, tmp_path, source):
    reference = PLACE if source == "registry" else "localhost/stack/engine:cpu-x"
    write_engine_lock(tmp_path, source, DIGEST if source == "registry" else None, reference)
    with pytest.raises(ImageError) as caught:
        look(make_session(DEMO))
    said = str(caught.value)
    named = f"- the image of engine ({PLACE}, {DIGEST}): it is not here by its digest"
    built = f"- the image of engine (vLLM {COMMIT}, built from upstream's wheel): no image that was built"
    assert asked == [] and (named if source == "registry" else built) in said


def test_every_file_of_the_locked_model_is_named(make_session, tmp_path):
    files = {"config.json": LockedFile(size_bytes=20, sha256="b" * 64), "x.safetensors": LockedFile(
        size_bytes=100, sha256="c" * 64)}  # fmt: skip
    write_engine_lock(tmp_path, model=LockedModel(id="acme/x", revision=REVISION, files=files))
    with pytest.raises(ImageError) as caught:
        look(make_session("offline = true\n"))
    said = str(caught.value).partition(f"- the model acme/x at {REVISION}: it is not on the volume ")[2]
    assert said.splitlines()[1:] == ["    config.json (20 bytes)", "    x.safetensors (100 bytes)"]


def test_without_a_lock_the_images_are_from_where_they_are_here(make_session, asked):
    toml = DEMO + '[engine]\ndevice = "cpu"\n[services]\ngrafana.enabled = false\nnode-exporter.enabled = false\n'
    found = resolve.resolve(make_session(toml), Daemon())
    assert (found.source.source, found.source.reason) == (
        "registry", "offline: as asked, and 0 of 2 published images are here"
    )  # fmt: skip
    built = resolve.resolve(make_session(toml + '[images]\nsource = "packages"\n'), Daemon()).needs
    daemon = Daemon(**{need.name: {"Id": DIGEST} for need in built.values()})
    found = resolve.resolve(make_session(toml), daemon)
    assert found.source.reason == "offline: as asked, and 2 of 2 built images are here"
    assert {need.action for need in found.needs.values()} == {"none"} and asked == []
    services = "[services]\ngrafana.enabled = false\nnode-exporter.enabled = false\nprometheus.enabled = false\n"
    named = resolve.resolve(make_session(DEMO + f'[engine]\nimage = "x:1"\ndevice = "cpu"\n{services}'), Daemon())
    assert named.source.reason == "offline: as asked, and every image is named"
    # What was asked for is not replaced by what is here.
    found = resolve.resolve(make_session(toml + '[images]\nsource = "registry"\n'), daemon)
    assert {need.action for need in found.needs.values()} == {"pull"}


def test_without_a_model_it_is_the_demo_and_the_reason_is_told(make_session, asked):
    found = resolve.resolve(make_session("offline = true\n"), Daemon())
    assert str(found.model) == "model.id = demo: offline: as asked, and the demo model needs no hub"
    assert str(found.choices[0]) == "offline = true: as asked"


def test_a_missing_model_alone_is_an_error_of_the_model(make_session, tmp_path):
    with pytest.raises(ModelError) as caught:
        demand_nothing(find_missing_model(parse_model_reference("acme/x"), REVISION, tmp_path, Lock()))
    assert caught.value.exit_code == 7
    assert f"- the model acme/x at {REVISION}: it is not on the volume {tmp_path}" in str(caught.value)
    demand_nothing([])


def test_a_directory_that_is_none_is_named_and_one_that_is_needs_nobody(tmp_path):
    reference = parse_model_reference(str(tmp_path / "gone"))
    assert "there is no directory" in str(find_missing_model(reference, None, tmp_path, Lock())[0])


def test_warm_names_what_is_missing_and_asks_nobody(make_session, asked):
    for model, name in (("demo", "smollm2"), ("acme/x", "acme/x")):
        session = make_session(f'offline = true\n[model]\nid = "{model}"\n[engine]\ndevice = "cpu"\n')
        with pytest.raises(ModelError, match=f"- the model {name}"):
            run_warm(session, verify=False, prune_others=False)
    assert asked == []


@pytest.mark.parametrize("model", ["demo", "acme/x", f"acme/x@{REVISION}"])
def test_the_model_room_lets_nobody_out_either(asked, events, tmp_path, model):
    name, _, revision = model.partition("@")
    with pytest.raises(ModelError, match="offline: as asked"):
        ensure_snapshot(
            parse_model_reference(name), revision=revision or None, volume=tmp_path, endpoint="https://hub.example",
            token=None, environ={}, report=events.append, offline_reason="offline: as asked",
        )  # fmt: skip
    assert asked == []


def test_doctor_asks_nobody_and_says_what_keeps_up_from_working(make_session, asked):
    found = doctor.run_doctor(make_session(DEMO), connect=Daemon)
    findings = {finding.check: finding for finding in found.report.findings}
    assert asked == []
    assert found.headline == (
        "`stack up` would not work: offline: as asked, and this is not on this machine (and 1 more)"
    )
    assert findings["decisions"].status == "fail" and "- the image of engine (" in findings["decisions"].message
    assert (findings["network"].status, findings["network"].message) == ("skip", "offline: as asked")


def test_pin_knows_only_what_is_here_and_asks_nobody(make_session, asked, said, tmp_path):
    session = make_session('offline = true\n[engine]\ndevice = "cpu"\naccept = "claimed"\n', connect=Daemon)
    for target in (COMMIT, "0.31.0", "nightly"):
        with pytest.raises(ImageError, match="out of reach"):
            run_pin(session, target)
    assert any("docker.io is out of reach (offline: as asked)" in line for line in said)
    write_engine_lock(tmp_path)
    report = {finding.check: finding for finding in run_check(session).findings}
    assert report["reachable-cpu"].status == "fail" and "out of reach" in report["reachable-cpu"].message
    assert report["tag-cpu"].status == "skip" and asked == []


def test_no_client_is_opened_and_no_build_begun(make_session, asked, events):
    session = make_session('offline = true\n[engine]\ndevice = "cpu"\n')
    ways = [
        lambda: open_http(session.config),
        lambda: find_commit_wheel(COMMIT, "cpu", session.config, None),
        ImageFetcher(session, Daemon(), resolve.resolve(session, Daemon())).build_base,
    ]
    for way in ways:
        with pytest.raises(OfflineError, match="out of reach"):
            way()
    with pytest.raises(ImageError, match="out of reach"):
        find_commit_image(COMMIT, "cpu", session.config)
    assert asked == [] and events == []


# Everything in the tool that can open a connection, and why it may. A client that trusts no proxy of the environment is
# one for the project's own services, on loopback.
WAYS_OUT = {
    "stack/models/hub_access.py": "asked for by `resolve`, `warm` and `doctor`, and not where `offline` is set",
    "stack/models/hub_client.py": "made in `ensure` and `estimate` behind their refusal, in `doctor` behind its answer",
    "stack/operations/images/pinned_engine.py": "`open_http`, the gate itself",
    "stack/images/pull.py": "given a registry's client by its caller",
}
OPENS = re.compile(
    r"httpx2\.(?:Client|AsyncClient)\((?!trust_env=False)|httpx2\.(?:get|post|stream|request)\(|HfApi\(|urlopen\(|"
    r"create_connection\(|snapshot_download\(|hf_hub_download\(|\.pull\([^)]*stream|aiohttp"
)


def test_every_way_out_of_this_tool_is_known():
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "stack").rglob("*.py")
        if OPENS.search(path.read_text(encoding="utf-8"))
    }
    assert found <= set(WAYS_OUT), "whatever can reach out passes `demand_online` first; then name it here"
