"""What watches the engine: what Prometheus scrapes, Prometheus itself, and Grafana."""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat, build_states

_NOT_SCRAPED = "Not scraped"

_STATES = Look(
    title="What could be scraped, and when",
    good="Up throughout; Down at a boot is the engine starting.",
    otherwise="Down: `stack status` and `stack logs` of that service.",
    unit="none",
    no_value=_NOT_SCRAPED,
    steps=((RED, None), (GREEN, 1)),
    words={0: ("Down", RED), 1: ("Up", GREEN)},
)
_DURATION = Look(
    title="Time of a scrape",
    good="below a second.",
    otherwise="longer: that service is overloaded; a scrape that takes as long as its interval is lost.",
    unit="s",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 1), (RED, 5)),
)
_SAMPLES = Look(
    title="Samples of a scrape",
    good="flat: about a thousand from an engine.",
    otherwise="it grows: a label has ever new values; Prometheus' memory grows with it.",
    unit="short",
    no_value=_NOT_SCRAPED,
    decimals=0,
)
_SERIES = Look(
    title="Series in Prometheus",
    good="below 20 000.",
    otherwise="more: *Samples of a scrape* shows which service brings them.",
    unit="short",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 20000), (RED, 100000)),
    decimals=0,
)
_RULES_BUSY = Look(
    title="Slowest rules, of their interval",
    good="below 10 %.",
    otherwise="above 50 % rules come late, and alerts with them: more CPU for Prometheus, or a longer interval.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 0.1), (RED, 0.5)),
    decimals=1,
)
_RULES_FAILED = Look(
    title="Failed rules in view",
    good="0.",
    otherwise="`stack logs prometheus` names the rule; what it records and alerts is missing.",
    unit="short",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (RED, 1)),
    decimals=0,
)
_BLOCKS = Look(
    title="Metrics on disk",
    good="below `services.prometheus.retention-size`; 0 within the first hours.",
    otherwise="more than you want to give: a shorter `retention-time`.",
    unit="bytes",
    no_value=_NOT_SCRAPED,
)
_MEMORY = Look(
    title="Memory of the services",
    good="some hundred MB for Prometheus, flat over days.",
    otherwise="it grows with the number of series; see *Series in Prometheus*.",
    unit="bytes",
    no_value=_NOT_SCRAPED,
)
_CPU = Look(
    title="Cores that the services take",
    good="far below one core.",
    otherwise="much: dashboards that look back for days, refreshed every few seconds.",
    unit="short",
    no_value=_NOT_SCRAPED,
)
_ANSWERS = Look(
    title="Grafana's answers by status",
    good="200.",
    otherwise="4xx: a login that is not right. 5xx: `stack logs grafana`.",
    unit="reqps",
    no_value="No Grafana",
)


def build_sections() -> list[Section]:
    """Give the sections."""
    return [
        Section("What is scraped", [Band(6, [(24, _build_scrapes())]), Band(7, _build_pages())]),
        Section("Prometheus and Grafana", [Band(4, _build_tiles()), Band(7, _build_services())]),
    ]


def _build_scrapes() -> Panel:
    return build_states(_STATES, Query("max by (job, instance) (up)", "{{job}} {{instance}}"))


def _build_pages() -> list[tuple[int, Panel]]:
    return [
        (12, build_chart(_DURATION, Query("scrape_duration_seconds", "{{job}} {{instance}}"))),
        (12, build_chart(_SAMPLES, Query("scrape_samples_scraped", "{{job}} {{instance}}"))),
    ]


def _build_tiles() -> list[tuple[int, Panel]]:
    busy = "max by (instance) (prometheus_rule_group_last_duration_seconds / prometheus_rule_group_interval_seconds)"
    failed = "sum by (instance) (increase(prometheus_rule_evaluation_failures_total[$__range]))"
    tiles = (
        (_SERIES, "max by (instance) (prometheus_tsdb_head_series)"),
        (_RULES_BUSY, busy),
        (_RULES_FAILED, failed),
        (_BLOCKS, "max by (instance) (prometheus_tsdb_storage_blocks_bytes)"),
    )
    return [(6, build_stat(look, Query(expr, "{{instance}}"))) for look, expr in tiles]


def _build_services() -> list[tuple[int, Panel]]:
    others = '{job!="vllm"}'
    answers = (
        'sum by (status_code) (rate(grafana_http_request_duration_seconds_count{job="grafana"}[$__rate_interval]))'
    )
    return [
        (8, build_chart(_MEMORY, Query(f"process_resident_memory_bytes{others}", "{{job}}"))),
        (8, build_chart(_CPU, Query(f"rate(process_cpu_seconds_total{others}[$__rate_interval])", "{{job}}"))),
        (8, build_chart(_ANSWERS, Query(answers, "{{status_code}}"), stacked=True)),
    ]
