"""What doctor decides and says, with and without a daemon."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from docker.errors import DockerException, ImageNotFound

from stack.checks.finding import Finding, Report
from stack.checks.gpus import GpuReport, read_gpus
from stack.checks.host.check import HostCheck, Outcome
from stack.checks.host.target import EndpointNeed
from stack.checks.host.world import EndpointAnswer
from stack.config.lock import Lock, LockedEngine, LockedImage, write_lock
from stack.errors import HostError, ImageError, ModelError
from stack.images.source import SourceChoice
from stack.models.hub_access import HubAnswer
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.doctor import decide as doctor_decide
from stack.operations.doctor import probes as doctor_probes
from stack.operations.doctor import run as doctor
from stack.operations.doctor.host_target import build_host_target
from stack.operations.doctor.no_daemon import NoDaemon
from stack.operations.doctor.preflight import PreflightError, check_preflight
from stack.operations.doctor.probes import NetworkProbes, ask_docker, find_address, parse_date
from tests.fixtures.fake_nvml import RTX_4090, build_nvml

TOML = '[model]\nid = "demo"\n[images]\nsource = "packages"\n[services.engine]\nport = 8123\n'
CPU = DeviceChoice(Choice("engine.device", "cpu", "no NVIDIA GPU on this machine"))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(
        "stack.operations.resolve.read_gpus", lambda: GpuReport(reason="no NVIDIA GPU", has_device=False)
    )


def refuse():
    raise HostError("the Docker daemon does not answer", hint="start it")


def run(session, *checks, connect=refuse):
    return doctor.run_doctor(session, connect=connect, checks=checks)


def test_without_a_daemon_everything_else_is_decided(make_session):
    docker = HostCheck("docker", lambda context: Outcome("fail", context.read_docker().problem), 1)
    found = run(make_session(TOML), docker)
    assert found.would_work is False
    assert found.headline == "`stack up` would not work: the Docker daemon does not answer"
    assert {choice.key: choice.value for choice in found.choices} == {
        "engine.device": "cpu", "images.source": "packages", "model.id": "demo"
    }  # fmt: skip
    assert {image.action for image in found.target.images} == {"build"}
    assert [(port.service, port.port, port.is_asked) for port in found.target.ports][0] == ("engine", 8123, True)


def test_a_machine_that_can_is_told_with_device_images_and_model(make_session):
    found = run(make_session(TOML), HostCheck("docker", lambda context: Outcome("pass", "fine"), 1))
    assert found.headline == (
        "`stack up` would work: CPU engine (no NVIDIA GPU), images built here from packages "
        '(`images.source = "packages"` asks for it), model demo (asked for; its files are yet to be fetched)'
    )


def test_nothing_is_written_by_it(make_session, tmp_path):
    session = make_session(TOML)
    before = sorted(tmp_path.rglob("*"))
    run(session)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_asked_for_and_cannot_be_had_is_a_failed_finding(make_session):
    found = run(make_session(TOML + '[engine]\ndevice = "cuda"\n'))
    assert found.report.findings[0].status == "fail"
    assert "cannot be had: no NVIDIA GPU" in found.headline


@pytest.mark.parametrize("error", [ImageError("no image", hint="name one"), RuntimeError("a bug")])
def test_whatever_ends_the_decisions_becomes_a_finding(make_session, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(doctor_decide, "resolve", fail)
    found = run(make_session(TOML))
    assert (found.report.findings[0].check, found.report.findings[0].status) == ("decisions", "fail")
    assert str(error) in found.headline


def test_decisions_that_take_too_long_are_a_warning_and_no_promise(make_session, monkeypatch):
    free = threading.Event()
    monkeypatch.setattr(doctor_decide, "resolve", lambda *arguments, **options: free.wait())
    monkeypatch.setattr(doctor_decide, "_DECIDE_SECONDS", 0.05)
    try:
        found = run(make_session(TOML))
    finally:
        free.set()
    assert found.report.findings[0].status == "warn"
    assert found.headline.startswith("whether `stack up` would work cannot be told")


def test_services_that_are_left_out_are_a_warning(make_session):
    found = run(make_session('[model]\nid = "demo"\n[images]\nsource = "packages"\n'))
    services = next(finding for finding in found.report.findings if finding.check == "services")
    assert (services.status, services.message.startswith("grafana is left out: ")) == ("warn", True)


def test_a_reason_loses_what_stands_in_parentheses():
    assert doctor.flatten("no hub (it says (no) so), so none") == "no hub, so none"


def give_resolved(**changes):
    need = SimpleNamespace(service="engine", action="pull", name="x", image_id=None)
    values = {
        "device": CPU, "needs": {"engine": need}, "source": SourceChoice("registry", "docker.io answers"),
        "model": Choice("model.id", "acme/x", "asked for", False), "snapshot": None,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def test_some_images_that_are_here_are_counted():
    here = SimpleNamespace(action="none")
    two = give_resolved(needs={"engine": here, "grafana": SimpleNamespace(action="pull")})
    assert "1 of 2 images pulled from registries (docker.io answers)" in doctor.describe_plan(two)
    assert "images that are here" in doctor.describe_plan(give_resolved(needs={"engine": here}))


def test_several_failures_are_counted_in_the_headline():
    report = Report((Finding("a", "fail", "one"), Finding("b", "fail", "two"), Finding("c", "pass", "three")))
    assert doctor.build_headline(report, None) == "`stack up` would not work: one (and 1 more)"


def test_a_model_of_the_hub_makes_the_hub_needed(make_session, monkeypatch):
    silent = HubAnswer(False, "no route")
    monkeypatch.setattr(doctor_probes, "ask_hub", lambda *arguments, **options: silent)
    session = make_session('[model]\nid = "acme/x"\n[images]\nsource = "packages"\n')
    found = run(session)
    hub = next(need for need in found.target.endpoints if need.kind == "hub")
    assert (hub.is_needed, hub.url) == (True, "https://huggingface.co")


def test_a_target_without_decisions_still_knows_its_folders(make_session):
    target = build_host_target(make_session(TOML), None)
    assert [folder.name for folder in target.folders] == ["models", "state", "caches"]
    assert (target.ports, target.images, target.model) == ((), (), None)


@pytest.mark.parametrize(
    ("variant", "device", "source"),
    [("cu129", "cuda", "stack.lock, variant cu129"), (None, "cpu", "stack.lock, vLLM 0.31.0")],
)
def test_a_lock_with_an_older_cuda_lets_an_older_driver_have_its_gpu(
    make_session, monkeypatch, tmp_path, variant, device, source
):
    report = read_gpus(build_nvml(RTX_4090, driver="575.51.03"), tmp_path / "no-pci")
    monkeypatch.setattr("stack.operations.resolve.read_gpus", lambda: report)
    session = make_session(TOML)
    image = LockedImage(reference="docker.io/vllm/vllm-openai:v0.31.0", variant=variant, source="registry")
    write_lock(session.lock_path, Lock(engine=LockedEngine(version="0.31.0"), images={"engine/cuda": image}))
    resolved = doctor_decide.resolve(session, NoDaemon())
    engine = build_host_target(session, resolved).engine
    assert (resolved.device.device, engine.device, engine.image.source) == (device, device, source)


def test_where_nothing_could_be_decided_the_gpu_checks_know_the_image_all_the_same(make_session):
    toml = '[engine.env]\nVLLM_ENABLE_CUDA_COMPATIBILITY = "1"\nVLLM_LOGGING_LEVEL = "DEBUG"\n'
    engine = build_host_target(make_session(toml), None).engine
    assert engine.image.cuda == (13, 0)
    assert engine.environ == {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}
    session = make_session("")
    session.lock_path.write_text("damaged")
    assert build_host_target(session, None).engine.image.cuda is None


def test_the_stand_in_for_a_daemon_has_nothing():
    daemon = NoDaemon()
    assert daemon.containers.list(all=True) == []
    with pytest.raises(ImageNotFound):
        daemon.images.get("x")


ENGINE_ROW = {
    "Id": "abc", "State": "running",
    "Labels": {"com.docker.compose.project": "theirs", "com.docker.compose.service": "engine"},
}  # fmt: skip


def give_client(requests):
    api = SimpleNamespace(
        api_version="1.41",
        containers=lambda all: [ENGINE_ROW, {"Id": "web", "State": "running", "Labels": None}],
        inspect_container=lambda name: {"HostConfig": {"DeviceRequests": requests}},
    )
    return SimpleNamespace(info=lambda: {"Driver": "overlay2"}, api=api)


@pytest.mark.parametrize(
    ("requests", "gpus"),
    [(None, []), ([{"Count": -1, "DeviceIDs": None}], ["all"]), ([{"Count": 0, "DeviceIDs": ["0"]}], ["0"])],
)
def test_the_gpus_of_running_engines_are_read_with_the_listing(requests, gpus):
    report = ask_docker(give_client(requests), {"DOCKER_HOST": "unix:///x"})
    assert report.address == "unix:///x (DOCKER_HOST)"
    assert report.containers[0]["Gpus"] == gpus
    assert "Gpus" not in report.containers[1]


def test_a_daemon_that_breaks_off_is_one_that_does_not_answer():
    def fail():
        raise DockerException("read timed out")

    client = SimpleNamespace(info=fail)
    assert "does not answer (read timed out)" in ask_docker(client, {}).problem


def test_a_daemon_is_named_also_without_a_variable():
    assert find_address({}).startswith(("unix://", "tcp://", "ssh://"))


def test_the_date_of_an_answer_is_read():
    assert parse_date("Thu, 01 Jan 1970 00:01:00 GMT") == 60
    assert parse_date("yesterday") is None
    assert parse_date("") is None


def test_each_endpoint_is_asked_once(make_session, monkeypatch):
    asked = []
    answer = HubAnswer(True, "it answers", "Thu, 01 Jan 1970 00:01:00 GMT")
    monkeypatch.setattr(doctor_probes, "ask_hub", lambda *arguments, **options: (asked.append(1), answer)[1])
    session = make_session(TOML)
    probes = NetworkProbes(session.config, {}, clock=iter([1.0, 1.5]).__next__)
    need = EndpointNeed("the model hub", "hub", "https://hub.example")
    assert probes.ask(need) == probes.ask(need) == EndpointAnswer(True, "it answers", 0.5, 60)
    assert asked == [1]


def test_what_the_hub_says_of_a_model_is_told_and_patience_is_no_refusal(make_session, monkeypatch):
    probes = NetworkProbes(make_session(TOML).config, {})

    def refuse_model(client):
        raise ModelError("acme/x is gated", hint="set HF_TOKEN")

    monkeypatch.setattr(doctor_probes, "fetch_listing", refuse_model)
    assert probes.ask_model("acme/x", "main").problem == "acme/x is gated"
    monkeypatch.setattr(doctor_probes, "fetch_listing", lambda client: client.sleep(30))
    assert probes.ask_model("acme/x", "main").problem is None


QUICK = {"is_quick": True}


def test_the_preflight_names_every_failure_at_once_with_its_hint(make_session):
    checks = [
        HostCheck("memory", lambda context: Outcome("fail", "too little", hint="buy more"), 1, **QUICK),
        HostCheck("disk-space", lambda context: Outcome("fail", "full", hint="make room"), 2, **QUICK),
        HostCheck("slow", lambda context: Outcome("fail", "never run"), 3),
    ]
    resolved = doctor_decide.resolve(make_session(TOML), NoDaemon())
    with pytest.raises(PreflightError) as caught:
        check_preflight(make_session(TOML), give_client(None), resolved, checks=checks)
    assert caught.value.message == "memory: too little\ndisk-space: full"
    assert caught.value.hint == "buy more\nmake room\n`stack doctor` looks at everything"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["gpu-driver", "gpu-capability"])
def test_a_verdict_on_the_image_can_be_overridden_and_nothing_else_can(make_session, name):
    checks = [HostCheck(name, lambda context: Outcome("fail", "too old", hint="update it"), 1, **QUICK)]
    resolved = doctor_decide.resolve(make_session(TOML), NoDaemon())
    with pytest.raises(PreflightError) as caught:
        check_preflight(make_session(TOML), give_client(None), resolved, checks=checks)
    assert "`stack up --anyway`" in caught.value.hint
    said = check_preflight(make_session(TOML), give_client(None), resolved, anyway=True, checks=checks)
    assert said == [f"{name}: too old"]
    full = HostCheck("disk-space", lambda context: Outcome("fail", "full"), 2, **QUICK)
    with pytest.raises(PreflightError) as caught:
        check_preflight(make_session(TOML), give_client(None), resolved, anyway=True, checks=[*checks, full])
    assert caught.value.message == "disk-space: full" and "--anyway" not in caught.value.hint


def test_warnings_of_the_preflight_come_back_with_why_they_matter(make_session):
    checks = [
        HostCheck("memory", lambda context: Outcome("warn", "little", why="it swaps"), 1, **QUICK),
        HostCheck("cpu", lambda context: Outcome("pass", "fine"), 2, **QUICK),
    ]
    resolved = doctor_decide.resolve(make_session(TOML), NoDaemon())
    said = check_preflight(make_session(TOML), give_client(None), resolved, checks=checks)
    assert said == ["memory: little (it swaps)"]
