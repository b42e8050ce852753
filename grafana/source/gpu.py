"""*GPU*: what the boards do, under one name for every vendor, and what only one vendor tells."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source import gpu_vendors
from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_NO_GPU = "No GPU"
_NAME = "GPU {{gpu}} {{modelName}}"
_USED, _FREE = "gpu:gpu_memory_used_bytes:max", "gpu:gpu_memory_free_bytes:max"
_HOT = ((GREEN, None), (YELLOW, 80), (RED, 88))

_ABOUT = Board(
    title="GPU",
    question="Are the GPUs healthy, and is one of them what limits the engine?",
    reading=(
        "An engine on the CPU has no GPU: the panels say so, and nothing is wrong. Everything above the rows that are "
        "shut is there with GeForce and AMD boards too. That memory is full is right with vLLM, which takes its share "
        "at start."
    ),
    asks_model=False,
)

_UTILIZATION = Look(
    title="Utilization",
    good="above 90 % while requests run, near 0 % otherwise.",
    otherwise="low with requests running: the CPU, or few requests at once, hold the engine back; *Host and stack*.",
    unit="percentunit",
    no_value=_NO_GPU,
    decimals=0,
)
_MEMORY = Look(
    title="Memory in use",
    good="about `gpu-memory-utilization`, and constant.",
    otherwise="more than at start: something else takes memory on this GPU; `nvidia-smi` names it.",
    unit="percentunit",
    no_value=_NO_GPU,
    decimals=0,
)
_TEMPERATURE = Look(
    title="Temperature",
    good="below 80 °C.",
    otherwise="hotter: dust, air flow, or a fan; the board lowers its clocks before it takes harm.",
    unit="celsius",
    no_value=_NO_GPU,
    steps=_HOT,
    decimals=0,
)
_HEAT = Look(
    title="Held down by heat",
    good="0 % of the last 5 minutes.",
    otherwise="heat makes the engine slower: look at *Temperature over time* and at the machine's air flow.",
    unit="percentunit",
    no_value="Not on this GPU",
    steps=((GREEN, None), (YELLOW, 0.01), (RED, 0.1)),
    decimals=1,
)
_UTILIZATION_CHART = Look(
    title="Utilization over time",
    good="follows the running requests.",
    otherwise="gaps under load: the engine waits for the CPU between its steps.",
    unit="percentunit",
    no_value=_NO_GPU,
)
_MEMORY_CHART = Look(
    title="Memory over time",
    good="a step at each boot, and flat after it.",
    otherwise="it rises after the boot: another program; the engine itself asks for no more.",
    unit="bytes",
    no_value=_NO_GPU,
)
_TEMPERATURE_CHART = Look(
    title="Temperature over time",
    good="a plateau below 80 °C under load.",
    otherwise="it still rises after half an hour: the room or the case gets no cooler air.",
    unit="celsius",
    no_value=_NO_GPU,
    steps=_HOT,
)
_POWER_CHART = Look(
    title="Power",
    good="near the board's limit in prefill, below it in decode.",
    otherwise="flat at the limit: power holds the clocks down; see the row of your vendor below.",
    unit="watt",
    no_value=_NO_GPU,
)
_CLOCK_CHART = Look(
    title="Clocks",
    good="high and steady under load.",
    otherwise="lower under load than it was: heat or power; *Held down by heat* tells them apart.",
    unit="hertz",
    no_value=_NO_GPU,
)
_FOREIGN = Look(
    title="Memory that went since the engine was ready",
    good="near 0.",
    otherwise="above 1 GiB: another program took it, and the next boot may not find enough.",
    unit="bytes",
    no_value=_NO_GPU,
    steps=((GREEN, None), (YELLOW, 256 * 1024**2), (RED, 1024**3)),
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [
        Section("Now", [Band(5, _build_tiles())]),
        Section("Over time", [Band(8, _build_work()), Band(8, _build_limits())]),
        *gpu_vendors.build_sections(),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_tiles() -> list[tuple[int, Panel]]:
    tiles = (
        (_UTILIZATION, "max by (instance, gpu, modelName) (gpu:gpu_utilization_ratio:max)"),
        (_MEMORY, f"{_USED} / ({_USED} + {_FREE} > 0)"),
        (_TEMPERATURE, "max by (instance, gpu, modelName) (gpu:gpu_temperature_celsius:max)"),
        (_HEAT, "max by (instance, gpu, modelName) (gpu:gpu_thermal_throttle_ratio:rate5m)"),
    )
    return [(6, build_stat(look, Query(expr, _NAME), show_names=True)) for look, expr in tiles]


def _build_work() -> list[tuple[int, Panel]]:
    return [
        (8, build_chart(_UTILIZATION_CHART, Query("gpu:gpu_utilization_ratio:max", _NAME), highest=1)),
        (8, build_chart(_MEMORY_CHART, Query(_USED, _NAME))),
        (8, build_chart(_POWER_CHART, Query("gpu:gpu_power_watts:max", _NAME))),
    ]


def _build_limits() -> list[tuple[int, Panel]]:
    # vLLM takes its memory at start and no more: what is missing since is somebody else's.
    gone = f"clamp_min(max by (UUID) (stack_gpu_ready_free_bytes) - on (UUID) group_right () {_FREE}, 0)"
    return [
        (8, build_chart(_TEMPERATURE_CHART, Query("gpu:gpu_temperature_celsius:max", _NAME))),
        (8, build_chart(_CLOCK_CHART, Query("gpu:gpu_clock_hertz:max", _NAME))),
        (8, build_chart(_FOREIGN, Query(gone, _NAME))),
    ]
