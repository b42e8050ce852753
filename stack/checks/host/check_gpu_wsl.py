"""The GPU inside WSL 2: the driver is the one of Windows, and not all of it is there."""

from __future__ import annotations

from pathlib import Path

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.check_wsl import is_wsl

# Windows mounts its driver's libraries here (CUDA on WSL user guide).
_LIBRARIES = "usr/lib/wsl/lib"
_LINUX_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64")


def run(context: HostContext) -> Outcome:
    """Judge the libraries that Windows gives, and say what WSL takes away."""
    world = context.world
    if not is_wsl((world.proc / "sys/kernel/osrelease").read_text().strip()):
        return Outcome("skip", "not WSL")
    cuda = world.root / _LIBRARIES / "libcuda.so.1"
    linux = find_linux_driver(world.root)
    data = {"libcuda": str(cuda) if cuda.exists() else None, "linux_driver": str(linux) if linux else None}
    engine, report = context.target.engine, context.read_gpus()
    if not cuda.exists():
        status = "fail" if engine.device_asked == "cuda" else "skip"
        said = f"WSL without a GPU: {cuda} is missing"
        hint = "install NVIDIA's driver in Windows (not in WSL), then `wsl --shutdown` in Windows"
        return Outcome(status, said, hint, data, "the GPU comes to WSL through the driver of Windows")
    if linux is not None:
        return Outcome(
            "warn",
            f"a Linux driver is installed inside WSL ({linux})",
            "remove its packages (`sudo apt-get remove --purge 'nvidia-*' 'libnvidia-*'`), then `wsl --shutdown`",
            data,
            "it hides the library of Windows's driver, and CUDA finds no GPU",
        )
    if not report.gpus:
        status = "fail" if engine.device_asked == "cuda" else "warn"
        hint = "update NVIDIA's driver in Windows, then `wsl --shutdown`"
        return Outcome(status, f"WSL gives libcuda, but {report.reason}", hint, data, "no container gets the GPU")
    return Outcome(
        "pass",
        "WSL 2 with a GPU; there vLLM may do without pinned memory, and the driver does not tell who holds GPU memory",
        data=data,
    )


def find_linux_driver(root: Path) -> Path | None:
    """Find a libcuda of a Linux driver, which does not belong into WSL, or None."""
    for folder in _LINUX_LIBRARIES:
        for path in sorted((root / folder).glob("libcuda.so.*.*")):
            if not path.is_symlink():
                return path
    return None


CHECK = HostCheck("gpu-wsl", run, order=150)
