"""What `stack doctor` prints, and what it ends with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stack.checks.finding import Finding, Report
from stack.checks.host.target import HostTarget
from stack.operations.choices import Choice
from stack.operations.doctor.run import DoctorReport

GOLDEN = Path(__file__).parent / "golden"
DISK = Finding(
    "disk-space",
    "fail",
    "3.0 GiB free at /var/lib/docker: about 31.5 GiB needed (images 31.5 GiB)",
    0.01,
    hint="make room (see `docker system df` and `docker system prune`)",
    why="a pull, a build or a download would end with `no space left on device`",
    data={"filesystems": [{"path": "/var/lib/docker", "free_bytes": 3221225472}]},
)
CLOCK = Finding(
    "clock", "warn", "this machine's clock is 2 hours ahead of docker.io", 0.2, hint="set it", why="tokens are refused"
)
DOCKER = Finding("docker", "pass", "Docker Engine 28.3.0 at unix:///var/run/docker.sock", 0.05)
BUILDX = Finding("buildx", "skip", "no image has to be built")
CHOICE = Choice("engine.device", "cuda", "RTX 4090 with driver 590.48")
HEADLINES = {
    "works": "`stack up` would work: CUDA engine on RTX 4090 (RTX 4090 with driver 590.48), images that are here, "
    "model demo (asked for; its files are here)",
    "fails": f"`stack up` would not work: {DISK.message}",
}


@pytest.fixture
def doctor(monkeypatch):
    """A function: these findings are what doctor finds."""

    def give(name, *findings):
        report = DoctorReport(Report(findings, seconds=0.84), HEADLINES[name], (CHOICE,), HostTarget("mine"))
        monkeypatch.setattr("stack.operations.doctor.run.run_doctor", lambda session, **options: report)

    return give


def compare(name, text):
    path = GOLDEN / name
    if os.environ.get("STACK_TEST_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_machine_that_works_is_told_in_the_first_line(doctor, invoke):
    doctor("works", DOCKER, BUILDX, CLOCK)
    result = invoke("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    compare("doctor_works.txt", result.stdout)


def test_a_failure_ends_with_3_and_says_why_it_matters_and_what_mends_it(doctor, invoke):
    doctor("fails", DOCKER, BUILDX, DISK, CLOCK)
    result = invoke("doctor")
    assert result.exit_code == 3
    compare("doctor_fails.txt", result.stdout)


def test_what_is_well_takes_a_line_each_unless_more_is_asked_for(doctor, invoke):
    doctor("works", DOCKER, Finding("ports", "pass", "8000 is free for us; " + "9090 is taken by another; " * 5))
    short, full = invoke("doctor").stdout, invoke("-v", "doctor").stdout
    assert short.count("is taken by another") == 2
    assert "`stack -v doctor` shows the lines in full" in short
    assert (" ".join(full.split()).count("is taken by another"), "in full" in full) == (5, False)


def test_everything_is_in_the_document(doctor, invoke):
    doctor("fails", DOCKER, DISK)
    result = invoke("doctor", "--json")
    assert result.exit_code == 3
    compare("doctor.json", result.stdout)
    assert json.loads(result.stdout)["schema_version"] == 1


def test_without_docker_doctor_still_answers_and_names_the_socket(run_stack, folder, home):
    run = run_stack("doctor", "--project", "nobodys", DOCKER_HOST="unix:///nonexistent")
    assert run.code == 3, run.err
    headline = " ".join(run.out.partition("\n\n")[0].split())
    assert headline.startswith(
        "`stack up` would not work: the Docker daemon does not answer at `unix:///nonexistent`, which DOCKER_HOST names"
    )
    assert "not asked: the Docker daemon does not answer" in " ".join(run.out.split())
    assert list(folder.iterdir()) == []
    assert list(home.rglob("*")) == []


def test_what_the_configuration_asks_for_and_cannot_be_had_is_a_finding(run_stack, folder):
    (folder / "stack.toml").write_text('[engine.mounts]\n"/adapters" = "/nowhere/at/all"\n')
    run = run_stack("doctor", "--json", DOCKER_HOST="unix:///nonexistent")
    findings = {finding["check"]: finding for finding in json.loads(run.out)["findings"]}
    assert run.code == 3
    assert findings["decisions"]["status"] == "fail"
    assert "/nowhere/at/all" in findings["decisions"]["message"]


def test_a_configuration_that_cannot_be_read_is_no_finding_but_an_error(run_stack, folder):
    (folder / "stack.toml").write_text("[engine\n")
    run = run_stack("doctor")
    assert (run.code, run.out) == (2, "")
