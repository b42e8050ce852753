"""What `up` looks at before it fetches, builds or starts anything: the quick checks of `doctor`."""

from __future__ import annotations

from collections.abc import Sequence

import docker

from stack.checks.finding import Finding
from stack.checks.host.check import HostCheck, HostContext
from stack.checks.host.run import run_host_checks
from stack.checks.host.world import HostWorld
from stack.config.places import resolve_home
from stack.errors import HostError
from stack.operations.doctor.host_target import build_host_target
from stack.operations.doctor.probes import ask_docker
from stack.operations.resolve import Resolved
from stack.operations.session import Session

# What these find is a verdict on an image, and the user may know better.
VERDICTS = ("gpu-driver", "gpu-capability")
# `up` has more time than `doctor`: a busy machine is no reason for a warning.
_PATIENCE = 4.0


class PreflightError(HostError):
    """This machine cannot run what was asked for; every reason at once.

    Args:
        findings: The failed findings, at least one.
        is_verdict: Whether an image that does not fit is among them, which can be overridden.
    """

    def __init__(self, findings: Sequence[Finding], *, is_verdict: bool = False) -> None:
        self.findings = tuple(findings)
        hints = dict.fromkeys(finding.hint for finding in findings if finding.hint)
        ways = ["to start that image all the same: `stack up --anyway`"] if is_verdict else []
        super().__init__(
            "\n".join(f"{finding.check}: {finding.message}" for finding in findings),
            hint="\n".join([*hints, *ways, "`stack doctor` looks at everything"]),
        )


def check_preflight(
    session: Session,
    client: docker.DockerClient,
    resolved: Resolved,
    *,
    anyway: bool = False,
    checks: Sequence[HostCheck] | None = None,
) -> list[str]:
    """Give the warnings of the quick checks.

    Args:
        session: The session.
        client: A connection to the daemon.
        resolved: What `up` will work with.
        anyway: Only warn of an image that does not fit the GPU or its driver.
        checks: Other checks than those of the registry.

    Raises:
        PreflightError: Something would keep `up` from working.
    """
    target = build_host_target(session, resolved, is_looked_back=False)
    # Before the checks: a slow answer is no check's fault.
    told = ask_docker(client, session.environ)
    world = HostWorld(
        ask_docker=lambda: told,
        environ=session.environ,
        home=resolve_home(session.environ),
    )
    report = run_host_checks(HostContext(target, world), checks=checks, is_quick_only=True, patience=_PATIENCE)
    overridden = VERDICTS if anyway else ()
    failed = [item for item in report.findings if item.status == "fail" and item.check not in overridden]
    if failed:
        raise PreflightError(failed, is_verdict=any(item.check in VERDICTS for item in failed))
    return [describe(item) for item in report.findings if item.status in ("warn", "fail")]


def describe(finding: Finding) -> str:
    """Give a warning with why it matters, in one line."""
    return f"{finding.check}: {finding.message}" + (f" ({finding.why})" if finding.why else "")
