"""*What runs*: the identity, the last boots and their phases, and the last smoke run check by check."""

from __future__ import annotations

from source.layout import Band, Section
from source.panels import GREEN, GREY, RED, YELLOW, Look, Panel, Query, build_bars, build_stat
from source.tables import build_table, transform

_NO_BOOT = "No boot recorded"
_LABELS = ["commit", "commit_level", "version", "model", "revision", "image_digest", "device"]
_PHASES = ["start", "load", "compile", "kv-cache", "graphs", "server", "first-token"]
_MATRIX_ROW = "boot\\phase"
_LAST_BOOT = "and on (boot) topk(1, stack_boot_timestamp_seconds)"

_IDENTITY = Look(
    title="Identity",
    good="the commit and revision you asked for, `commit_level` verified.",
    otherwise=(
        "claimed: only whoever built the image says so. unknown: nobody does. "
        "Another commit or revision: `stack up` with the one you want."
    ),
    unit="string",
    no_value=_NO_BOOT,
)
_BOOTS = Look(
    title="Phases of the last boots",
    good="later boots are shorter than the first, because weights and compile cache are warm.",
    otherwise="a phase that grew says where to look; `stack logs engine` has its lines.",
    unit="s",
    no_value=_NO_BOOT,
    decimals=1,
)
_BOOT_SECONDS = Look(
    title="Last boot",
    good="about as long as the boots before it.",
    otherwise="the phases below show which grew.",
    unit="s",
    no_value=_NO_BOOT,
    steps=((GREEN, None), (YELLOW, 300), (RED, 900)),
    decimals=0,
)
_BOOT_AGE = Look(
    title="Since the last boot",
    good="as long as you expect.",
    otherwise="shorter: somebody, or a reboot, started the stack again.",
    unit="s",
    no_value=_NO_BOOT,
    decimals=0,
)
_CACHE = Look(
    title="Compile cache",
    good="Warm from the second boot on.",
    otherwise=(
        "Cold after a change of commit, model or engine args is normal; `stack warm` fills it beforehand. "
        "An engine that compiles nothing has none."
    ),
    unit="none",
    no_value="No compile cache",
    steps=((YELLOW, None), (GREEN, 1)),
    words={0: ("Cold", YELLOW), 1: ("Warm", GREEN)},
)
_CHECKS = Look(
    title="Smoke checks",
    good="all Passed.",
    otherwise="Failed: `stack smoke` says why. Skipped: it could not be run here, and says why.",
    unit="none",
    no_value="No smoke run yet",
    steps=((GREY, None), (RED, 0), (GREEN, 1)),
    words={-1: ("Skipped", GREY), 0: ("Failed", RED), 1: ("Passed", GREEN)},
)


def build_sections() -> list[Section]:
    """Give the two sections."""
    checks = build_stat(_CHECKS, Query("stack_smoke_check_status", "{{check}}"), show_names=True)
    return [
        Section("What runs", [Band(4, _build_tiles()), Band(9, _build_details())]),
        Section("Did it answer correctly", [Band(6, [(24, checks)])]),
    ]


def _build_tiles() -> list[tuple[int, Panel]]:
    seconds = Query(f"stack_boot_seconds {_LAST_BOOT}", "{{boot}}")
    age = Query("time() - max(stack_boot_timestamp_seconds)", "boot")
    cache = Query(f"stack_boot_cache_warm {_LAST_BOOT}", "{{boot}}")
    return [
        (8, build_stat(_BOOT_SECONDS, seconds)),
        (8, build_stat(_BOOT_AGE, age)),
        (8, build_stat(_CACHE, cache)),
    ]


def _build_details() -> list[tuple[int, Panel]]:
    identity = build_table(
        _IDENTITY,
        Query("stack_info", "{{version}}"),
        [transform("labelsToFields", mode="rows", keepLabels=_LABELS)],
    )
    return [(12, build_phases()), (12, identity)]


def build_phases() -> Panel:
    """Give the phases of the boots that are told of, boot by boot."""
    return build_bars(
        _BOOTS,
        Query("stack_boot_phase_seconds", "{{boot}} {{phase}}"),
        [
            transform(
                "groupingToMatrix",
                rowField="boot",
                columnField="phase",
                valueField="Value",
                emptyValue="null",
            ),
            transform("sortBy", fields={}, sort=[{"field": _MATRIX_ROW, "desc": False}]),
            transform(
                "organize",
                excludeByName={},
                renameByName={},
                indexByName={name: index for index, name in enumerate([_MATRIX_ROW, *_PHASES])},
            ),
        ],
    )
