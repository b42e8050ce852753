"""`stack doctor`: whether `up` would work on this machine, and what is in its way. Changes nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stack.checks.finding import Finding, Report
from stack.checks.host.check import HostCheck, HostContext
from stack.checks.host.run import run_host_checks
from stack.checks.host.target import HostTarget
from stack.checks.host.world import HostWorld
from stack.config.places import resolve_home
from stack.operations.choices import Choice
from stack.operations.doctor.decide import Decision, decide
from stack.operations.doctor.gpu_test import judge_gpu
from stack.operations.doctor.host_target import ModelSize, build_host_target
from stack.operations.doctor.probes import Connect, NetworkProbes, connect_briefly
from stack.operations.resolve import Resolved
from stack.operations.session import Session

_PARENTHESES = re.compile(r" ?\([^()]*\)")


@dataclass(frozen=True)
class DoctorReport:
    """What `doctor` found.

    Attributes:
        report: All findings.
        headline: Whether `up` would work, and with which device, images and model.
        choices: Every decision with its reason; empty where none could be taken.
        target: What `up` would want of this machine.
    """

    report: Report
    headline: str
    choices: tuple[Choice, ...]
    target: HostTarget

    @property
    def would_work(self) -> bool:
        """Whether nothing that was found keeps `up` from working."""
        return self.report.is_passed


def run_doctor(
    session: Session,
    *,
    connect: Connect | None = None,
    checks: Sequence[HostCheck] | None = None,
    is_gpu_tested: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> DoctorReport:
    """Check this machine against what `up` of this project would want of it.

    Args:
        session: The session.
        connect: Makes a connection to the daemon; None connects briefly.
        checks: Other checks than those of the registry.
        is_gpu_tested: Whether to run an allocation on the GPU, in a container of the engine's image.
        clock: Monotonic seconds.
    """
    began = clock()
    probes = NetworkProbes(session.config, session.environ, clock)
    decision = decide(session, probes, connect or (lambda: connect_briefly(session.environ)))
    size = ModelSize(decision.model.size_bytes if decision.model else None)
    target = build_host_target(session, decision.resolved, size=size)
    world = HostWorld(
        ask_docker=decision.docker,
        ask_endpoint=probes.ask,
        ask_model=_give_model(decision),
        environ=session.environ,
        home=resolve_home(session.environ),
    )
    found = run_host_checks(HostContext(target, world), checks=checks, clock=clock)
    tests = [judge_gpu(decision.resolved, session.config.engine.env)] if is_gpu_tested else []
    findings = (decision.finding, *judge_services(decision.resolved), *found.findings, *tests)
    report = Report(findings, seconds=clock() - began)
    choices = tuple(decision.resolved.choices) if decision.resolved else ()
    return DoctorReport(report, build_headline(report, decision.resolved), choices, target)


def _give_model(decision: Decision) -> Callable | None:
    answer = decision.model
    return None if answer is None else lambda: answer


def judge_services(resolved: Resolved | None) -> list[Finding]:
    """Say what the stack would do without, and what of the GPUs it would not use."""
    if resolved is None:
        return []
    said = [f"{service} is left out: {reason}" for service, reason in resolved.left_out.items()]
    said += resolved.device.warnings
    if not said:
        return [Finding("services", "pass", ", ".join(resolved.needs))]
    why = "less is seen or served than could be"
    return [Finding("services", "warn", "; ".join(said), data={"left_out": dict(resolved.left_out)}, why=why)]


def build_headline(report: Report, resolved: Resolved | None) -> str:
    """Say whether `up` would work, and with what."""
    fails = [finding for finding in report.findings if finding.status == "fail"]
    if fails:
        more = f" (and {len(fails) - 1} more)" if len(fails) > 1 else ""
        # What is named line by line stands in the finding.
        reason = fails[0].message.partition("\n")[0].removesuffix(":")
        return f"`stack up` would not work: {reason}{more}"
    if resolved is None:
        return "whether `stack up` would work cannot be told: its decisions were not taken in time"
    return f"`stack up` would work: {describe_plan(resolved)}"


def describe_plan(resolved: Resolved) -> str:
    """Say with which device, images and model, each with its reason."""
    device = resolved.device
    gpus = ", ".join(dict.fromkeys(gpu.name for gpu in device.gpus))
    engine = f"CUDA engine on {gpus}" if device.device == "cuda" else "CPU engine"
    return (
        f"{engine} ({flatten(device.choice.reason)}), {_describe_images(resolved)}, "
        f"model {resolved.model.value} ({_describe_model(resolved)})"
    )


def flatten(reason: str) -> str:
    """Give a reason without what it says in parentheses, fit to stand in some; the finding has all of it."""
    while (shorter := _PARENTHESES.sub("", reason)) != reason:
        reason = shorter
    return reason


def _describe_images(resolved: Resolved) -> str:
    actions = [need.action for need in resolved.needs.values()]
    missing = len(actions) - actions.count("none")
    if not missing:
        return "images that are here"
    some = "images" if missing == len(actions) else f"{missing} of {len(actions)} images"
    reason = f" ({flatten(resolved.source.reason)})"
    if "build" in actions:
        return f"{some} built here from packages{reason}"
    if "pull" not in actions:
        return f"{some} loaded from the archive"
    return f"{some} pulled from registries{reason}"


def _describe_model(resolved: Resolved) -> str:
    here = "its files are here" if resolved.snapshot is not None else "its files are yet to be fetched"
    return f"{flatten(resolved.model.reason)}; {here}"
