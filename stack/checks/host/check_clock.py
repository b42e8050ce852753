"""The clock, against others that can be seen from here."""

from __future__ import annotations

import datetime
import re

from stack.checks.host.amounts import describe_seconds
from stack.checks.host.check import HostCheck, HostContext, Outcome

# Certificates and tokens tolerate minutes; a minute already bends graphs and the order of logs.
_MOST_SECONDS = 60.0
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


def run(context: HostContext) -> Outcome:
    """Compare with the daemon, with what answers on the network, and with what was written here before."""
    now = context.world.now()
    skews = {name: now - then for name, then in list_clocks(context, now)}
    data = {"skew_seconds": {name: round(skew, 1) for name, skew in skews.items()}}
    written = find_newest_file(context)
    wrong = {name: skew for name, skew in skews.items() if abs(skew) > _MOST_SECONDS}
    hint = "set it: `timedatectl` shows it, `sudo timedatectl set-ntp true` keeps it right (WSL: `sudo hwclock -s`)"
    why = "certificates and tokens are refused, and logs, metrics and graphs of one moment lie apart"
    if wrong:
        said = ", ".join(
            f"{describe_seconds(skew)} {'ahead of' if skew > 0 else 'behind'} {name}" for name, skew in wrong.items()
        )
        return Outcome("warn", f"this machine's clock is {said}", hint=hint, why=why, data=data)
    if written is not None and now < written[1] - _MOST_SECONDS:
        behind = describe_seconds(written[1] - now)
        message = f"this machine's clock is {behind} before {written[0]}: it was set back, or is wrong"
        return Outcome("warn", message, hint=hint, why=why, data=data)
    compared = f"within {_MOST_SECONDS:.0f} s of {', '.join(skews)}" if skews else "nothing to compare it with answers"
    return Outcome("pass", compared, data=data)


def list_clocks(context: HostContext, now: float) -> list[tuple[str, float]]:
    """List the clocks that can be seen, with their seconds since the epoch at the moment `now`."""
    clocks = []
    told = parse_time(str((context.read_docker().info or {}).get("SystemTime", "")))
    if told is not None:
        clocks.append(("the Docker daemon", told))
    for need in context.target.endpoints:
        date = context.read_endpoint(need).date
        if date is not None:
            clocks.append((need.name, date))
    return clocks


def parse_time(text: str) -> float | None:
    """Read the daemon's RFC 3339 time, whose nanoseconds Python does not take; None where it is none."""
    try:
        return datetime.datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text)).timestamp()
    except ValueError:
        return None


def find_newest_file(context: HostContext) -> tuple[str, float] | None:
    """Give what was written last by or for this tool, and when: the clock cannot be before that."""
    found = [("this tool was installed", context.world.installed_at())]
    state = context.target.state
    if state is not None:
        for path in (state.facts, state.lock):
            try:
                found.append((f"{path.name} was written", path.stat().st_mtime))
            except OSError:
                continue
    return max(found, key=lambda item: item[1], default=None)


CHECK = HostCheck("clock", run, order=500, limit_seconds=1.2)
