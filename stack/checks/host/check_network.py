"""The model hub and the registries: whether they answer, and how fast."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from stack.checks.host.check import HostCheck, HostContext, Outcome
from stack.checks.host.target import EndpointNeed
from stack.checks.host.world import EndpointAnswer

# A registry or hub that answers one small request slower than that will be slow with gigabytes, too.
_SLOW_SECONDS = 1.0


def run(context: HostContext) -> Outcome:
    """Ask all of them side by side."""
    needs = list(context.target.endpoints)
    if not needs:
        return Outcome("skip", context.target.unasked or "nothing has to be asked: images and model are here")
    with ThreadPoolExecutor(len(needs)) as pool:
        answers = list(pool.map(context.read_endpoint, needs))
    pairs = list(zip(needs, answers, strict=True))
    data = {
        need.name: {"reachable": answer.is_reachable, "seconds": round(answer.seconds, 3), "reason": answer.reason}
        for need, answer in pairs
    }
    said = ", ".join(describe(need, answer) for need, answer in pairs)
    missing = [need for need, answer in pairs if need.is_needed and not answer.is_reachable]
    if missing:
        return Outcome(
            "fail",
            said,
            hint=_suggest(missing[0]),
            why="what has to be fetched from there is not on this machine",
            data=data,
        )
    silent = [need for need, answer in pairs if not answer.is_reachable]
    if silent:
        return Outcome(
            "warn",
            said,
            hint=f"nothing needs to be done if this machine is to work without {' and '.join(n.name for n in silent)}; "
            "else see the network, HTTPS_PROXY and SSL_CERT_FILE",
            why="images are built from packages, or the demo model is served, where nothing better can be had",
            data=data,
        )
    if any(answer.seconds > _SLOW_SECONDS for answer in answers):
        why = "pulls and downloads of gigabytes will take long"
        return Outcome("warn", said, hint="a mirror near by helps: `images.mirror`", why=why, data=data)
    return Outcome("pass", said, data=data)


def describe(need: EndpointNeed, answer: EndpointAnswer) -> str:
    """Give one answer in words."""
    if answer.is_reachable:
        return f"{need.name} answers in {answer.seconds:.2f} s"
    return f"{need.name} does not answer ({answer.reason})"


def _suggest(need: EndpointNeed) -> str:
    see = "see the network, HTTPS_PROXY and SSL_CERT_FILE"
    if need.kind == "hub":
        return f"{see}; or serve what is here: `--model demo`, or a directory with `model.id`"
    return f"{see}; or build the images from packages: `--images packages`; or name a mirror: `images.mirror`"


CHECK = HostCheck("network", run, order=420, limit_seconds=1.2)
