"""Run a real CUDA allocation in the engine's image: what no reading of versions proves."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import docker

from stack.checks.finding import Finding
from stack.checks.gpu_test import build_gpu_test_argv, parse_gpu_test
from stack.checks.gpus import read_gpus
from stack.containers.daemon import read_image
from stack.errors import HostError
from stack.failures.explain import explain_text
from stack.operations.choices import DeviceChoice
from stack.operations.resolve import Resolved

logger = logging.getLogger(__name__)

CHECK = "gpu-test"
STEP = "gpu test"
_WHY = "the engine would fail in the same way, only later and with a longer log"
# PyTorch's import and the first context take seconds; a GPU that answers later than this is broken.
_LIMIT_SECONDS = 120.0
_SHOWN_LINES = 3

RunTool = Callable[[Sequence[str], float], "subprocess.CompletedProcess[str]"]


def find_refusal(resolved: Resolved | None) -> str | None:
    """Give the reason why there is nothing to test, or None."""
    if resolved is None:
        return "device and image are not decided"
    if resolved.device.device != "cuda":
        return f"the engine runs on the CPU: {resolved.device.choice.reason}"
    if resolved.needs["engine"].action != "none":
        return "the engine's image is not here yet; `stack up` brings it, and tests it then"
    return None


def build_gpu_test_stamp(image_id: str | None) -> str:
    """Give what a passed test is good for: this image under the driver that runs now."""
    return f"{image_id}@{read_gpus().driver}"


def judge_gpu(resolved: Resolved | None, environ: Mapping[str, str], *, run: RunTool | None = None) -> Finding:
    """Run the test for what was decided, or say why not."""
    refusal = find_refusal(resolved)
    if refusal is not None or resolved is None:
        return Finding(CHECK, "skip", f"not run: {refusal}")
    need = resolved.needs["engine"]
    return run_gpu_test(need.image_id or need.name, resolved.device, environ, run=run)


def demand_gpu_test(
    client: docker.DockerClient,
    image: str,
    device: DeviceChoice,
    environ: Mapping[str, str],
    *,
    run: RunTool | None = None,
) -> str:
    """Run the test as a step of `up`, and give what its success is good for.

    Raises:
        HostError: The GPU does not work in this image.
    """
    finding = run_gpu_test(image, device, environ, run=run)
    if finding.status == "fail":
        raise HostError(finding.message, hint=finding.hint, detail=finding.data.get("output"))
    found = read_image(client, image)
    return build_gpu_test_stamp(found["Id"] if found else None)


def run_gpu_test(
    image: str, device: DeviceChoice, environ: Mapping[str, str], *, run: RunTool | None = None
) -> Finding:
    """Run the test in a container of its own, with what of the engine's environment matters, and judge what it says."""
    name = f"stack-gpu-test-{os.getpid()}"
    argv = build_gpu_test_argv(image, device.devices, name, environ)
    began = time.monotonic()
    call = run or _run
    try:
        done = call(argv, _LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        call(["docker", "rm", "--force", name], _LIMIT_SECONDS)
        message = f"the GPU gave no answer within {_LIMIT_SECONDS:.0f} s in the engine's image"
        hint = "see `dmesg | grep -i xid` and `nvidia-smi`; restart the machine if the GPU hangs"
        return Finding(CHECK, "fail", message, time.monotonic() - began, hint, why=_WHY)
    seconds = time.monotonic() - began
    logger.debug("%s took %.2f s", shlex.join([*argv[:-1], "..."]), seconds)
    result = parse_gpu_test(done.stdout) if done.returncode == 0 else None
    if result is None or result.problem is not None:
        return _judge_failure(done, result.problem if result else None, seconds)
    data = {"torch": result.torch, "cuda": result.cuda, "gpus": list(result.gpus), "image": image}
    said = f"{', '.join(result.gpus)} computes in the engine's image (PyTorch {result.torch}, CUDA {result.cuda})"
    return Finding(CHECK, "pass", said, seconds, data=data)


def _judge_failure(done: subprocess.CompletedProcess[str], problem: str | None, seconds: float) -> Finding:
    output = (done.stderr or done.stdout).strip()
    known = explain_text(output)
    last = " / ".join(output.splitlines()[-_SHOWN_LINES:]) or f"exit status {done.returncode}"
    message = problem or (known.cause if known else last)
    hint = known.next if known else "see `nvidia-smi`, `stack doctor` and the container toolkit's logs"
    said = f"the GPU does not work in the engine's image: {message}"
    return Finding(CHECK, "fail", said, seconds, hint, {"output": output[-4000:]}, _WHY)


def _run(argv: Sequence[str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_seconds, check=False)
