"""Whether the engine's image fits this machine, asked before `up` pulls anything: from its registry, without a pull."""

from __future__ import annotations

import platform

import docker

from stack.checks.gpus import GpuReport, read_gpus
from stack.errors import ImageError
from stack.images.fit import read_engine_facts
from stack.images.reference import apply_mirror
from stack.operations.pin.fit import demand_fit, describe_misfits, judge_fit, read_host
from stack.operations.pin.world import RegistryDesk
from stack.operations.resolve import Resolved
from stack.operations.session import Session

_WAYS = "pin another variant (`stack pin --cuda`, `--device`), or choose `--device cpu`"


def check_fit(
    session: Session,
    client: docker.DockerClient,
    resolved: Resolved,
    *,
    anyway: bool = False,
    gpus: GpuReport | None = None,
) -> list[str]:
    """Judge the engine's image where it has to be pulled, and give what to warn of.

    A registry that does not answer is the pull's to tell: the archive may stand in for it.

    Args:
        session: The run.
        client: The daemon.
        resolved: What `up` will work with.
        anyway: Go on with an image that does not fit.
        gpus: What the driver says; None asks it.

    Raises:
        HostError: The image does not fit this machine.
    """
    need, config = resolved.needs["engine"], session.config
    if need.action != "pull" or need.wanted is None:
        return []
    try:
        image = RegistryDesk(config, session.report).fetch_image(
            apply_mirror(need.wanted.reference, config.images.mirror)
        )
    except ImageError:
        return []
    host = read_host(config, resolved.device.device, gpus or read_gpus(), client, platform.machine())
    verdict = judge_fit(read_engine_facts(image.config, image.size_bytes), host, config.engine.env)
    demand_fit(verdict, anyway, "stack up --anyway", ways=_WAYS)
    doubts = [item for item in verdict if item.verdict != "fits"]
    return [f"it is not sure that the engine's image fits this machine:\n{describe_misfits(doubts)}"] if doubts else []
