"""*SLO*: the objectives of `[slo]`, the budget left, how fast it burns, and the shares within every bound."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_MODEL = '{model_name=~"$model_name"}'
# Its rules look back for hours and days, and are judged every 30 s to 4 min.
_NOT_YET = "Not judged yet"
_ERRORS = "model_slo:vllm_slo_errors"
_TARGET = "slo:vllm_slo_target:ratio"
_NAME = "{{slo}} {{model_name}}"

_ABOUT = Board(
    title="SLO",
    question="Are the objectives kept, and how long will the error budget last?",
    reading=(
        "The objectives are those of `[slo]` in `stack.toml`. The budget is what may go wrong within the window; a "
        "burn rate of 1 spends it exactly in that time. Shares are of requests (of tokens for ITL), counted in "
        "histogram buckets; nothing here is an average of quantiles."
    ),
    time="now-24h",
    refresh="1m",
)

_TARGETS = Look(
    title="Objectives",
    good="what your users need, and no more.",
    otherwise="change them in `[slo]` of `stack.toml`; `stack up` puts them in force.",
    unit="percentunit",
    no_value="Not scraped",
    decimals=1,
)
_BOUNDS = Look(
    title="Bounds of the objectives",
    good="what your users feel as fast.",
    otherwise="they are bounds of vLLM's histograms: `[slo]` takes no other.",
    unit="s",
    no_value="Not scraped",
    decimals=2,
)
_LEFT = Look(
    title="Error budget left",
    good="above 50 % in the middle of the window.",
    otherwise="below 0 % the objective is missed: change nothing but what makes it better.",
    unit="percentunit",
    no_value=_NOT_YET,
    steps=((RED, None), (YELLOW, 0), (GREEN, 0.25)),
    decimals=0,
)
_LEFT_CHART = Look(
    title="Error budget over time",
    good="falls slowly, and comes back as bad hours leave the window.",
    otherwise="a step down: what happened then? Boots and smokes are marked.",
    unit="percentunit",
    no_value=_NOT_YET,
    steps=((RED, None), (YELLOW, 0), (GREEN, 0.25)),
)
_FAST = Look(
    title="Burn rate over 1 hour",
    good="below 1.",
    otherwise="14.4 for an hour spends 2 days' worth of a month: somebody is paged at that. See *Requests*.",
    unit="suffix: ×",
    no_value=_NOT_YET,
    steps=((GREEN, None), (YELLOW, 6), (RED, 14.4)),
)
_SLOW = Look(
    title="Burn rate over 1 day",
    good="below 1.",
    otherwise="above 3 for a day is a ticket: the budget will not last for its window.",
    unit="suffix: ×",
    no_value=_NOT_YET,
    steps=((GREEN, None), (YELLOW, 1), (RED, 3)),
)
_MISSED = Look(
    title="Missed in the last 5 minutes",
    good="0 %.",
    otherwise="which objective it is says where to look: `availability` in *Requests*, latencies in *Overview*.",
    unit="percentunit",
    no_value="Not judged yet",
)
_COUNTED = Look(
    title="Requests that were judged within a day",
    good="hundreds: shares of them say something.",
    otherwise="below `minimum-requests` nothing is alerted, since one failure of three says nothing.",
    unit="short",
    no_value=_NOT_YET,
    decimals=0,
)
# (metric, name, what is counted, bounds as vLLM writes them)
_SHARES = (
    ("time_to_first_token_seconds", "TTFT", "requests", "0.5|1.0|2.5|5.0|10.0"),
    ("inter_token_latency_seconds", "ITL", "tokens", "0.05|0.1|0.2|0.5|1.0"),
    ("e2e_request_latency_seconds", "E2E latency", "requests", "5.0|15.0|30.0|60.0|120.0"),
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [
        Section("What is kept", [Band(4, _build_targets()), Band(4, [(24, _build_left())]), Band(8, _build_budget())]),
        Section("How fast the budget burns", [Band(8, _build_burns())]),
        Section("Within each bound", [Band(8, [(8, _build_share(*row)) for row in _SHARES])]),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_targets() -> list[tuple[int, Panel]]:
    return [
        (12, build_stat(_TARGETS, Query(_TARGET, "{{slo}}"), show_names=True)),
        (12, build_stat(_BOUNDS, Query("slo:vllm_slo_bound:seconds", "{{slo}}"), show_names=True)),
    ]


def _build_left() -> Panel:
    left = f"min by (slo, model_name) (model_slo:vllm_slo_budget_left:ratio{_MODEL})"
    return build_stat(_LEFT, Query(left, _NAME), show_names=True)


def _build_budget() -> list[tuple[int, Panel]]:
    counted = f"model_slo:vllm_slo_requests:increase1d{_MODEL}"
    return [
        (12, build_chart(_LEFT_CHART, Query(f"model_slo:vllm_slo_budget_left:ratio{_MODEL}", _NAME), lowest=None)),
        (12, build_chart(_COUNTED, Query(counted, _NAME))),
    ]


def _build_burns() -> list[tuple[int, Panel]]:
    fast, slow = (
        Query(f"{_ERRORS}:ratio_rate{window}{_MODEL} / on (slo) group_left () (1 - {_TARGET})", _NAME)
        for window in ("1h", "1d")
    )
    return [
        (8, build_chart(_MISSED, Query(f"{_ERRORS}:ratio_rate5m{_MODEL}", _NAME))),
        (8, build_chart(_FAST, fast)),
        (8, build_chart(_SLOW, slow)),
    ]


def _build_share(metric: str, name: str, things: str, bounds: str) -> Panel:
    look = Look(
        title=f"{name}: share of {things} within each bound",
        good="the line of your objective's bound above its target.",
        otherwise="a line that falls alone: the slow ones got slower. All fall: everything did; see *Overview*.",
        unit="percentunit",
        no_value="No traffic",
    )
    buckets = f"model_le:vllm_{metric}_bucket:rate5m"
    within = f'{buckets}{{model_name=~"$model_name", le=~"{bounds}"}}'
    every = f'{buckets}{{model_name=~"$model_name", le="+Inf"}}'
    share = f"{within} / ignoring (le) group_left () ({every} > 0)"
    return build_chart(look, Query(share, "≤ {{le}} s {{model_name}}"), highest=1)
