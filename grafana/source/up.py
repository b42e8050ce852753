"""*Is it up*: the engine, what is scraped, and the last smoke run."""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, GREY, RED, YELLOW, Look, Query, build_stat

_DAY_SECONDS = 86400
_UP = {0: ("Down", RED), 1: ("Up", GREEN)}
_FROM_ONE = ((RED, None), (GREEN, 1))

_ENGINE = Look(
    title="Engine",
    good="Up.",
    otherwise=(
        "Asleep: the engine gave its memory back and must be woken before it answers. "
        "Down: Prometheus cannot read the engine's metrics; `stack status` and `stack logs engine` say why."
    ),
    unit="none",
    no_value="Not scraped",
    steps=((RED, None), (YELLOW, 1), (GREEN, 2)),
    words={0: ("Down", RED), 1: ("Asleep", YELLOW), 2: ("Up", GREEN)},
)
# An engine that does not export its sleep state counts as awake; one that is down has no say in it.
_ENGINE_STATE = 'min(up{job="vllm"}) * (1 + (min(vllm:engine_sleep_state{sleep_state="awake"}) or vector(1)))'

_TARGETS = Look(
    title="Scraped services",
    good="every service of the stack is Up.",
    otherwise="what is Down is missing on this dashboard too; `stack status` shows its state.",
    unit="none",
    no_value="Not scraped",
    steps=_FROM_ONE,
    words=_UP,
)
_SMOKE = Look(
    title="Last smoke run",
    good="Passed: the engine answered correctly.",
    otherwise="the checks at the bottom show which failed; `stack smoke` runs them again and says why.",
    unit="none",
    no_value="No smoke run yet",
    steps=_FROM_ONE,
    words={0: ("Failed", RED), 1: ("Passed", GREEN)},
)
_SMOKE_AGE = Look(
    title="Since the last smoke run",
    good="less than a day, and less than since the last boot.",
    otherwise="`stack smoke` takes seconds.",
    unit="s",
    no_value="No smoke run yet",
    steps=((GREEN, None), (YELLOW, _DAY_SECONDS), (GREY, 7 * _DAY_SECONDS)),
    decimals=0,
)
_UPTIME = Look(
    title="Engine running for",
    good="as long as since the last boot.",
    otherwise=(
        "shorter: the engine was restarted; `stack logs engine` shows the end of the run before. "
        "With several API servers the engine does not export this."
    ),
    unit="s",
    no_value="Not exported",
    steps=((YELLOW, None), (GREEN, 300)),
    decimals=0,
)


_ALERTS = Look(
    title="Alerts that fire",
    good="No alert.",
    otherwise="`prometheus/runbook.md` has a heading for each: what it means, how to find its cause, what to do.",
    unit="none",
    no_value="No alert",
    steps=((RED, None),),
    words={1: ("Firing", RED)},
)


def build_sections() -> list[Section]:
    """Give the sections."""
    uptime = 'time() - min(process_start_time_seconds{job="vllm"})'
    panels = [
        (4, build_stat(_ENGINE, Query(_ENGINE_STATE, "engine"), fill=True)),
        (8, build_stat(_TARGETS, Query("min by (job) (up)", "{{job}}"), show_names=True)),
        (4, build_stat(_UPTIME, Query(uptime, "engine"))),
        (4, build_stat(_SMOKE, Query("min(stack_smoke_success)", "smoke"), fill=True)),
        (4, build_stat(_SMOKE_AGE, Query("time() - max(stack_smoke_timestamp_seconds)", "smoke"))),
    ]
    alerts = Query('max by (alertname, severity) (ALERTS{alertstate="firing"})', "{{alertname}} ({{severity}})")
    return [
        Section("Is it up", [Band(4, panels)]),
        Section("What is wrong", [Band(3, [(24, build_stat(_ALERTS, alerts, show_names=True))])]),
    ]
