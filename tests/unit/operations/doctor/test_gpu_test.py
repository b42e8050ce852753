"""The GPU test as `doctor` and `up` run it."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from stack.errors import HostError
from stack.operations.choices import Choice, DeviceChoice
from stack.operations.doctor.gpu_test import demand_gpu_test, judge_gpu, run_gpu_test

CUDA = DeviceChoice(Choice("engine.device", "cuda", "RTX 4090 with driver 590"), devices=("0",))
GOOD = "stack-gpu-test " + json.dumps(
    {"torch": "2.11.0", "cuda": "13.0", "gpus": [{"name": "RTX 4090", "is_right": True}]}
)


def give(device="cuda", action="none"):
    need = SimpleNamespace(action=action, image_id="sha256:abc", name="vllm")
    choice = CUDA if device == "cuda" else DeviceChoice(Choice("engine.device", "cpu", "no NVIDIA GPU"))
    return SimpleNamespace(device=choice, needs={"engine": need})


def answering(code=0, stdout="", stderr=""):
    return lambda argv, seconds: subprocess.CompletedProcess(argv, code, stdout, stderr)


def forbidden(argv, seconds):
    raise AssertionError("nothing may be run")


@pytest.mark.parametrize(
    ("resolved", "reason"),
    [
        (None, "device and image are not decided"),
        (give("cpu"), "the engine runs on the CPU: no NVIDIA GPU"),
        (give(action="pull"), "the engine's image is not here yet; `stack up` brings it, and tests it then"),
    ],
)
def test_without_gpu_or_image_nothing_is_run_and_the_reason_is_given(resolved, reason):
    finding = judge_gpu(resolved, {}, run=forbidden)
    assert (finding.status, finding.message) == ("skip", f"not run: {reason}")


def test_a_gpu_that_computes_passes_with_what_it_ran_on():
    seen = []

    def run(argv, seconds):
        seen.append(argv)
        return subprocess.CompletedProcess(argv, 0, GOOD, "")

    finding = judge_gpu(give(), {}, run=run)
    assert finding.status == "pass"
    assert finding.message == "RTX 4090 computes in the engine's image (PyTorch 2.11.0, CUDA 13.0)"
    assert "sha256:abc" in seen[0]


def test_what_docker_says_is_explained():
    said = 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].'
    finding = run_gpu_test("sha256:abc", CUDA, {}, run=answering(125, stderr=said))
    assert finding.status == "fail"
    assert "NVIDIA" in finding.message + str(finding.hint)
    assert finding.data["output"] == said


def test_a_failure_that_nobody_knows_shows_its_last_lines():
    finding = run_gpu_test("sha256:abc", CUDA, {}, run=answering(1, stderr="a\nb\nc\nd\n"))
    assert finding.message == "the GPU does not work in the engine's image: b / c / d"


def test_a_container_without_a_gpu_fails_though_it_ends_well():
    empty = "stack-gpu-test " + json.dumps({"torch": "2.11.0", "cuda": "13.0", "gpus": []})
    finding = run_gpu_test("sha256:abc", CUDA, {}, run=answering(stdout=empty))
    assert (finding.status, finding.message.endswith("the container got no GPU")) == ("fail", True)


def test_a_gpu_that_hangs_fails_and_its_container_is_removed():
    calls = []

    def hang(argv, seconds):
        calls.append(argv)
        if argv[1] == "run":
            raise subprocess.TimeoutExpired(argv, seconds)
        return subprocess.CompletedProcess(argv, 0, "", "")

    finding = run_gpu_test("sha256:abc", CUDA, {}, run=hang)
    assert finding.status == "fail"
    name = calls[0][calls[0].index("--name") + 1]
    assert calls[1] == ["docker", "rm", "--force", name]


def test_as_a_step_of_up_a_failure_ends_it_and_a_success_is_remembered(monkeypatch):
    monkeypatch.setattr("stack.operations.doctor.gpu_test.read_image", lambda client, name: {"Id": "sha256:abc"})
    monkeypatch.setattr("stack.operations.doctor.gpu_test.read_gpus", lambda: SimpleNamespace(driver="590.48"))
    with pytest.raises(HostError, match="does not work in the engine's image"):
        demand_gpu_test(None, "vllm", CUDA, {}, run=answering(1, stderr="boom"))
    assert demand_gpu_test(None, "vllm", CUDA, {}, run=answering(stdout=GOOD)) == "sha256:abc@590.48"
