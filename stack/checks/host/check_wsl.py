"""Windows Subsystem for Linux."""

from __future__ import annotations

from stack.checks.host.check import HostCheck, HostContext, Outcome


def run(context: HostContext) -> Outcome:
    """Tell whether this is WSL, by the kernel's own name, and what follows from that."""
    kernel = (context.world.proc / "sys/kernel/osrelease").read_text().strip()
    if not is_wsl(kernel):
        return Outcome("pass", f"not WSL (kernel {kernel})", data={"kernel": kernel, "is_wsl": False})
    data = {"kernel": kernel, "is_wsl": True}
    if "WSL2" not in kernel and "microsoft-standard" not in kernel:
        return Outcome(
            "fail",
            f"this is WSL 1 (kernel {kernel})",
            hint="`wsl --set-version <distribution> 2` in Windows",
            why="it has no Linux kernel of its own, so Docker cannot run in it",
            data=data,
        )
    outside = [folder for folder in context.target.folders if str(folder.path).startswith("/mnt/")]
    if outside:
        named = ", ".join(f"{folder.name} ({folder.path})" for folder in outside)
        return Outcome(
            "warn",
            f"WSL 2, with folders on a Windows drive: {named}",
            hint=f"keep them inside WSL: {outside[0].setting}",
            why="every file there goes through the 9P protocol: weights load many times slower, and locks and owners "
            "are not those of Linux",
            data=data,
        )
    return Outcome(
        "pass", "WSL 2; memory is what .wslconfig gives it, and the GPU driver is the one of Windows", data=data
    )


def is_wsl(kernel: str) -> bool:
    """Tell whether a kernel release is one of Microsoft's (`6.6.87.2-microsoft-standard-WSL2`)."""
    return "microsoft" in kernel.lower()


CHECK = HostCheck("wsl", run, order=70)
