"""A real allocation on the GPU, in the image that the engine will run in: what is run, and what it says. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stack.checks.cuda_support import FORWARD_SWITCH, REQUIRE_SWITCH, is_on

# Enough to need a context, the allocator and a kernel; nothing that a desktop would miss.
_MIB = 256
_MARK = "stack-gpu-test "
_FORWARD_PATH, _FORWARD_FOLDER = "VLLM_CUDA_COMPATIBILITY_PATH", "/usr/local/cuda/compat"
# A kernel must run, not only an allocation: an image without kernels for the GPU allocates happily.
_SCRIPT = f"""
import json, torch
found = []
for index in range(torch.cuda.device_count()):
    block = torch.ones({_MIB} * 1024 * 1024 // 4, dtype=torch.float32, device=f"cuda:{{index}}")
    ones = int(block.sum(dtype=torch.float64).item())
    found.append({{"name": torch.cuda.get_device_name(index), "capability": torch.cuda.get_device_capability(index),
                  "is_right": ones == block.numel()}})
print("{_MARK}" + json.dumps({{"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": found}}))
"""


@dataclass(frozen=True)
class GpuTestResult:
    """What the test in the container saw.

    Attributes:
        torch: PyTorch's version in the image.
        cuda: The CUDA that it was built with; None for a build without.
        gpus: The names of the GPUs that the container got.
        wrong: Those that computed a wrong sum.
    """

    torch: str
    cuda: str | None
    gpus: tuple[str, ...]
    wrong: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Say what is wrong, or None."""
        if self.cuda is None:
            return f"the image's PyTorch {self.torch} was built without CUDA"
        if not self.gpus:
            return "the container got no GPU"
        return f"{', '.join(self.wrong)} computes wrong sums" if self.wrong else None


def build_gpu_test_argv(
    image: str, devices: str | int | Sequence[str], name: str, environ: Mapping[str, str]
) -> list[str]:
    """Build the command: the engine's image with the engine's GPUs and as few rights as the engine has.

    Args:
        image: The engine's image, by ID or digest; it is never pulled here.
        devices: `all`, a count, or ids.
        name: The container's name, by which it is removed should it hang.
        environ: The engine's environment, which may change which driver will do.
    """
    switches = [f"{key}={environ[key]}" for key in (FORWARD_SWITCH, REQUIRE_SWITCH) if key in environ]
    if is_on(environ, FORWARD_SWITCH):
        # What vLLM itself does with that switch (vllm/env_override.py), and only when it is imported.
        switches.append(f"LD_LIBRARY_PATH={environ.get(_FORWARD_PATH, _FORWARD_FOLDER)}")
    wanted = str(devices) if isinstance(devices, str | int) else f'"device={",".join(devices)}"'
    return [
        "docker", "run", "--rm", "--name", name, "--pull", "never", "--gpus", wanted,
        "--env", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "--env", "HOME=/tmp",
        *(word for switch in switches for word in ("--env", switch)),
        "--network", "none", "--read-only", "--tmpfs", "/tmp:exec,mode=1777",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--user", "2000:0",
        "--entrypoint", "python3", image, "-c", _SCRIPT,
    ]  # fmt: skip


def parse_gpu_test(stdout: str) -> GpuTestResult | None:
    """Read what the script printed; None where it did not get that far."""
    lines = [line for line in stdout.splitlines() if line.startswith(_MARK)]
    try:
        document = json.loads(lines[-1].removeprefix(_MARK))
        gpus = document["gpus"]
        return GpuTestResult(
            torch=str(document["torch"]),
            cuda=document["cuda"],
            gpus=tuple(str(gpu["name"]) for gpu in gpus),
            wrong=tuple(str(gpu["name"]) for gpu in gpus if not gpu["is_right"]),
        )
    except (IndexError, ValueError, KeyError, TypeError):
        return None
