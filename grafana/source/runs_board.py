"""*Runs*: boots, smokes, replays, benches and what the model scores, one after the other and commit by commit."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source import runs
from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, GREY, RED, YELLOW, Look, Panel, Query, build_chart, build_stat, build_states
from source.tables import build_matrix, build_rows

_NO_BOOT, _NO_SMOKE, _NO_REPLAY = "No boot recorded", "No smoke run yet", "No replay yet"
_BOOT_COLUMNS = ["boot", "version", "commit", "model", "Value"]
_NO_BENCH, _BENCH = "No throughput run yet", "bench"
_BENCH_COLUMNS = ["run", "preset", "commit", "model", "Value"]
_RUN_COLUMNS = ["run", "kind", "commit", "Value"]
_OF_COMMIT = "* on (instance) group_left (version, commit) max by (instance, version, commit) (stack_info)"

_ABOUT = Board(
    title="Runs",
    question="What ran on which commit, and was it as fast and as right as before?",
    reading=(
        "The last boots with their phases, then the smoke runs, the distance of the model's scores from their "
        "baseline, replays and throughput runs side by side. `stack history` and `stack report` have all of them, "
        "and older ones."
    ),
    asks_model=False,
    time="now-7d",
    refresh="1m",
)

_BOOTS = Look(
    title="The last boots",
    good="times alike on one commit once the caches are warm.",
    otherwise="`stack report` of a slow boot shows its phases against the ones before.",
    unit="s",
    no_value=_NO_BOOT,
    decimals=1,
)
_NEWEST = Look(
    title="Phases of the newest boot, as time went by",
    good="steps down after the first boot on a commit, and level since.",
    otherwise="a step up with a new commit: compare the two with `stack report`; without one: disk or memory.",
    unit="s",
    no_value=_NO_BOOT,
)
_EXPIRY = Look(
    title="Upstream deletes the image in",
    good="Stays: a release, or the archive keeps a copy.",
    otherwise="within days: `stack pin` with an archive keeps it.",
    unit="s",
    no_value="Stays",
    steps=((RED, None), (YELLOW, 3 * 86400), (GREEN, 7 * 86400)),
    decimals=0,
)
_TOOK = Look(
    title="The last smoke run took",
    good="seconds.",
    otherwise="minutes: the engine is busy, or slow; see *Overview*.",
    unit="s",
    no_value=_NO_SMOKE,
    steps=((GREEN, None), (YELLOW, 60), (RED, 300)),
    decimals=0,
)
_FAR = Look(
    title="Farthest from the baseline",
    good="below 0.05 nats a token.",
    otherwise="the model scores otherwise than when it was judged right: another commit, kernel or quantization.",
    unit="suffix: nats/token",
    no_value="No baseline",
    steps=((GREEN, None), (YELLOW, 0.05), (RED, 0.2)),
    decimals=3,
)
_VERDICTS = Look(
    title="Smoke, commit by commit",
    good="Passed throughout.",
    otherwise="Failed from a commit on: `stack rollback` goes back to the last one that passed.",
    unit="none",
    no_value=_NO_SMOKE,
    steps=((RED, None), (GREEN, 1)),
    words={0: ("Failed", RED), 1: ("Passed", GREEN)},
)
_CHECKS = Look(
    title="Smoke, check by check",
    good="all Passed.",
    otherwise="Failed: `stack smoke` says why. Skipped: it could not be run here, and says why.",
    unit="none",
    no_value=_NO_SMOKE,
    steps=((GREY, None), (RED, 0), (GREEN, 1)),
    words={-1: ("Skipped", GREY), 0: ("Failed", RED), 1: ("Passed", GREEN)},
)
_DRIFT = Look(
    title="Negative log-likelihood against the baseline, commit by commit",
    good="level, close to 0.",
    otherwise="a step with a new commit: its numbers changed. A step without one: look at the GPU.",
    unit="suffix: nats/token",
    no_value="No baseline",
)
_REPLAYS = Look(
    title="Replays and other runs",
    good="all Passed.",
    otherwise="Failed: `stack report` of that run has its rows.",
    unit="none",
    no_value=_NO_REPLAY,
    steps=((RED, None), (GREEN, 1)),
    words={0: ("Failed", RED), 1: ("Passed", GREEN)},
)
_LATENCIES = (
    ("p50", "Median latencies of replays, side by side", "the same within a few percent from run to run."),
    ("p99", "Slowest latencies (p99) of replays, side by side", "at most a few times the median."),
)

_SPEEDS = Look(
    title="Output tokens a second, commit by commit",
    good="the same within a few percent, of one preset and model.",
    otherwise="less with a new commit: `stack bench --compare RUN` tells whether that is more than repeats scatter.",
    unit="suffix: tok/s",
    no_value=_NO_BENCH,
    decimals=1,
)
_BENCH_LATENCIES = (
    ("p50", "Median latencies of throughput runs, side by side", "the same within a few percent, of one preset."),
    ("p95", "Slow latencies (p95) of throughput runs, side by side", "at most a few times the median."),
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [
        Section("Boots", [Band(4, _build_tiles()), Band(9, _build_boots()), Band(7, [(24, _build_newest())])]),
        Section("Smoke runs", [Band(4, [(24, _build_verdicts())]), Band(9, [(24, _build_checks())])]),
        Section("What the model scores", [Band(8, [(24, _build_drift())])]),
        Section("Replays", [Band(8, _build_replays())]),
        Section("Throughput runs", [Band(8, _build_benches())]),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_tiles() -> list[tuple[int, Panel]]:
    return [
        (8, build_stat(_EXPIRY, Query("min(stack_image_expiry_timestamp_seconds) - time()", "image"))),
        (8, build_stat(_TOOK, Query("max(stack_smoke_seconds)", "smoke"))),
        (8, build_stat(_FAR, Query("max(abs(stack_smoke_drift_nats))", "baseline"))),
    ]


def _build_boots() -> list[tuple[int, Panel]]:
    labels = "boot, version, commit, model"
    boots = (
        f"max by ({labels}) (stack_boot_seconds "
        "* on (instance, boot) group_left (version, commit, model) stack_boot_info)"
    )
    return [
        (12, runs.build_phases()),
        (12, build_rows(_BOOTS, Query(boots, "{{boot}}"), _BOOT_COLUMNS, hidden=())),
    ]


def _build_newest() -> Panel:
    newest = "max by (phase) (stack_boot_phase_seconds and on (boot) topk(1, stack_boot_timestamp_seconds))"
    return build_chart(_NEWEST, Query(newest, "{{phase}}"), stacked=True)


def _build_verdicts() -> Panel:
    return build_states(_VERDICTS, Query(f"stack_smoke_success {_OF_COMMIT}", "{{version}} {{commit}}"))


def _build_checks() -> Panel:
    return build_states(_CHECKS, Query("max by (check) (stack_smoke_check_status)", "{{check}}"))


def _build_drift() -> Panel:
    return build_chart(
        _DRIFT, Query(f"stack_smoke_drift_nats {_OF_COMMIT}", "{{text}} {{version}} {{commit}}"), lowest=None
    )


def _build_replays() -> list[tuple[int, Panel]]:
    passed = Query("max by (run, kind, commit) (stack_run_passed)", "{{kind}} {{run}}")
    return [
        (8, build_rows(_REPLAYS, passed, _RUN_COLUMNS, hidden=())),
        *((8, _build_latencies(*row)) for row in _LATENCIES),
    ]


def _build_benches() -> list[tuple[int, Panel]]:
    speeds = Query("max by (run, preset, commit, model) (stack_bench_output_tokens_per_second)", "{{preset}} {{run}}")
    return [
        (8, build_rows(_SPEEDS, speeds, _BENCH_COLUMNS, hidden=())),
        *((8, _build_latencies(*row, is_bench=True)) for row in _BENCH_LATENCIES),
    ]


def _build_latencies(percentile: str, title: str, good: str, *, is_bench: bool = False) -> Panel:
    tells = "`stack bench --compare RUN`" if is_bench else "`stack replay` again"
    look = Look(
        title=title,
        good=good,
        otherwise=f"`stack history` names the commits between two runs; {tells} tells chance from change.",
        unit="s",
        no_value=_NO_BENCH if is_bench else _NO_REPLAY,
        decimals=3,
    )
    kind = f'kind="{_BENCH}"' if is_bench else f'kind!="{_BENCH}"'
    measured = f'max by (run, latency) (stack_run_latency_seconds{{{kind}, percentile="{percentile}"}})'
    return build_matrix(look, Query(measured, "{{run}} {{latency}}"), "run", "latency")
