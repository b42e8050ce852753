"""What only one vendor's exporter tells of a GPU.

Names and units are those of the exporters' documentation: NVIDIA/dcgm-exporter etc/default-counters.csv (our list of
them is compose/dcgm-exporter/counters.csv) and ROCm/device-metrics-exporter, "List of Available Metrics".
"""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_LACKS = "Not on this GPU"
_BY = "max by (instance, gpu, modelName)"
_NAME = "GPU {{gpu}} {{modelName}}"
_AMD_NAME = "GPU {{gpu_id}} {{card_model}}"
_NONE_IS_GOOD = ((GREEN, None), (RED, 1))

_POWER = Look(
    title="Power as a share of its limit",
    good="below 100 %, or there only in prefill.",
    otherwise="always at 100 %: the limit holds the clocks down; raise it if board and power supply allow.",
    unit="percentunit",
    no_value=_LACKS,
    steps=((GREEN, None), (YELLOW, 0.98)),
)
_REASONS = Look(
    title="Why clocks were lowered",
    good="nothing, or `sw_power_cap` under full load.",
    otherwise="`sw_thermal` and `hw_thermal` are heat; `hw_power_brake` is the power supply.",
    unit="short",
    no_value=_LACKS,
)
_HELD = Look(
    title="Time held down by power",
    good="0 % but under full load.",
    otherwise="much: the power limit is what makes the engine slow.",
    unit="percentunit",
    no_value=_LACKS,
)
_XID = Look(
    title="Last Xid",
    good="0: the driver reported no error since it was loaded.",
    otherwise="the runbook's *GpuXid* says which of them matter; the number stays until the driver is loaded again.",
    unit="none",
    no_value=_LACKS,
    steps=_NONE_IS_GOOD,
    decimals=0,
)
_ECC = Look(
    title="Uncorrectable memory errors in view",
    good="0. Boards without ECC do not count them.",
    otherwise="what was computed with them cannot be trusted: restart the engine, and watch whether it comes again.",
    unit="short",
    no_value=_LACKS,
    steps=_NONE_IS_GOOD,
    decimals=0,
)
_REMAPPED = Look(
    title="Memory rows replaced after errors",
    good="0, or a small number that does not grow.",
    otherwise="it grows: the board's memory wears out.",
    unit="short",
    no_value=_LACKS,
    steps=((GREEN, None), (YELLOW, 1), (RED, 8)),
    decimals=0,
)
_REMAP_FAILED = Look(
    title="Replacing rows failed",
    good="No.",
    otherwise="Yes: the board has no spare rows left, and must be replaced.",
    unit="none",
    no_value=_LACKS,
    steps=_NONE_IS_GOOD,
    words={0: ("No", GREEN), 1: ("Yes", RED)},
)
_PCIE = Look(
    title="PCIe retries per second",
    good="0.",
    otherwise="the slot, the riser or the board makes errors on the bus: seat it anew. Loads take longer meanwhile.",
    unit="cps",
    no_value=_LACKS,
)
_AMD_ECC = Look(
    title="AMD: uncorrectable memory errors",
    good="0.",
    otherwise="what was computed with them cannot be trusted: restart the engine, and watch whether it comes again.",
    unit="short",
    no_value=_LACKS,
    steps=_NONE_IS_GOOD,
    decimals=0,
)
_AMD_PCIE = Look(
    title="AMD: PCIe retries",
    good="a line that does not rise.",
    otherwise="it rises: the slot, the riser or the board makes errors on the bus; seat it anew.",
    unit="short",
    no_value=_LACKS,
)


def build_sections() -> list[Section]:
    """Give the sections."""
    return [
        Section(
            "Only with NVIDIA boards: power limit, throttle reasons, Xid, ECC, PCIe",
            [Band(8, _build_clocks()), Band(5, _build_errors()), Band(7, _build_bus())],
            is_conditional=True,
        ),
        Section("Only with AMD boards: memory errors, PCIe", [Band(7, _build_amd())], is_conditional=True),
    ]


def _build_clocks() -> list[tuple[int, Panel]]:
    limit = f"{_BY} (DCGM_FI_DEV_POWER_USAGE) / ({_BY} (DCGM_FI_DEV_POWER_MGMT_LIMIT) > 0)"
    reasons = "max by (instance, gpu, clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT)"
    held = f"{_BY} (rate(DCGM_FI_DEV_POWER_VIOLATION[$__rate_interval])) / 1000000000"
    return [
        (8, build_chart(_POWER, Query(limit, _NAME))),
        (8, build_chart(_REASONS, Query(reasons, "GPU {{gpu}} {{clock_event}}"))),
        (8, build_chart(_HELD, Query(held, _NAME))),
    ]


def _build_errors() -> list[tuple[int, Panel]]:
    tiles = (
        (_XID, "DCGM_FI_DEV_XID_ERRORS"),
        (_ECC, "increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[$__range])"),
        (_REMAPPED, "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"),
        (_REMAP_FAILED, "DCGM_FI_DEV_ROW_REMAP_FAILURE"),
    )
    return [(6, build_stat(look, Query(f"{_BY} ({expr})", _NAME), show_names=True)) for look, expr in tiles]


def _build_bus() -> list[tuple[int, Panel]]:
    retries = f"{_BY} (rate(DCGM_FI_DEV_PCIE_REPLAY_COUNTER[$__rate_interval]))"
    return [(24, build_chart(_PCIE, Query(retries, _NAME)))]


def _build_amd() -> list[tuple[int, Panel]]:
    # What the exporter's config says may stand before its names.
    errors, retries = (
        f"max by (instance, gpu_id, card_model) (amd_{name} or {name})"
        for name in ("gpu_ecc_uncorrect_total", "pcie_replay_count")
    )
    return [
        (12, build_stat(_AMD_ECC, Query(errors, _AMD_NAME), show_names=True)),
        (12, build_chart(_AMD_PCIE, Query(retries, _AMD_NAME))),
    ]
