"""*Host and stack*: the machine, the engine's process, and what watches it."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from source import watchers
from source.board import Board, build_board
from source.layout import Band, Section
from source.panels import GREEN, RED, YELLOW, Look, Panel, Query, build_chart, build_stat

_NOT_SCRAPED = "Not scraped"
_IDLE = 'rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval])'
# What is no disk, or cannot fill: as in the alerts.
_DISKS = '{fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|nsfs|fuse.*"}'
_DEVICES = '{device!~"zram.*|loop.*|ram.*|sr.*|fd.*"}'
_FULL = ((GREEN, None), (YELLOW, 0.85), (RED, 0.95))

_ABOUT = Board(
    title="Host and stack",
    question="Does the machine keep up, and does the monitoring itself work?",
    reading=(
        "The engine needs a free CPU core even with a GPU, memory for the page cache while it loads, and disk for "
        "images, models and metrics. Below: the engine's process, then Prometheus and Grafana."
    ),
    asks_model=False,
)

_CPU_NOW = Look(
    title="CPU",
    good="below 85 %.",
    otherwise="full with a GPU engine: something else takes the CPU, and the GPU waits. A CPU engine fills it itself.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=_FULL,
    decimals=0,
)
_MEMORY_NOW = Look(
    title="Memory",
    good="below 85 %.",
    otherwise="full: the kernel ends what takes most, which is the engine. `stack doctor` says what fits.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=_FULL,
    decimals=0,
)
_DISK_NOW = Look(
    title="Fullest disk",
    good="below 85 %.",
    otherwise="`stack prune` frees what is not needed any more; Prometheus stops when its disk is full.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=_FULL,
    decimals=0,
)
_LOAD_NOW = Look(
    title="Load per core",
    good="below 1.",
    otherwise="above 1: more wants to run than there are cores.",
    unit="short",
    no_value=_NOT_SCRAPED,
    steps=((GREEN, None), (YELLOW, 1), (RED, 2)),
    decimals=2,
)
_CPU = Look(
    title="CPU by kind of work",
    good="`user` while the engine works, and little else.",
    otherwise="`iowait`: the disk is slow (a model loads). `steal`: a virtual machine gets less than it was promised.",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
)
_MEMORY = Look(
    title="Memory and swap in use",
    good="below the total, swap at 0.",
    otherwise="swap in use: the engine's steps take many times as long; give the machine less to do.",
    unit="bytes",
    no_value=_NOT_SCRAPED,
)
_PRESSURE = Look(
    title="Time that work waits for CPU, memory or disk",
    good="near 0 %.",
    otherwise="whichever is high is what the machine lacks. Kernels without pressure figures show none.",
    unit="percentunit",
    no_value="Not exported",
)
_DISK = Look(
    title="Disks in use",
    good="below 85 %, and flat.",
    otherwise="it grows: images and models (`stack prune`), or metrics (`services.prometheus.retention-size`).",
    unit="percentunit",
    no_value=_NOT_SCRAPED,
    steps=_FULL,
)
_TRAFFIC = Look(
    title="Disk traffic",
    good="reads while a model loads, little else.",
    otherwise="reads under load: memory is short, and files are read again and again.",
    unit="Bps",
    no_value=_NOT_SCRAPED,
)
_NETWORK = Look(
    title="Network: requests to the engine",
    good="follows the requests.",
    otherwise=(
        "high: images or long histories in every request. These are the engine's own figures, without streams; "
        "a container without the host's network, as ours, does not see the host's interfaces."
    ),
    unit="Bps",
    no_value="No request yet",
)
_ENGINE_CPU = Look(
    title="Cores that the API server takes",
    good="well below 1: it is one Python process.",
    otherwise="near 1 it is the bottleneck: `api-server-count`. With several of them none is exported.",
    unit="short",
    no_value="Not exported",
    steps=((GREEN, None), (YELLOW, 0.8), (RED, 0.95)),
)
_ENGINE_MEMORY = Look(
    title="Memory of the API server",
    good="flat after the first requests.",
    otherwise="it grows for days: report it upstream; a restart frees it.",
    unit="bytes",
    no_value="Not exported",
)
_ENGINE_FILES = Look(
    title="Open files of the API server",
    good="far below 100 % of its limit.",
    otherwise="each open connection is one: clients do not close theirs.",
    unit="percentunit",
    no_value="Not exported",
    steps=((GREEN, None), (YELLOW, 0.5), (RED, 0.8)),
)
_PROCESSES = Look(
    title="Processes running or awaiting the disk",
    good="about as many running as there are cores; none blocked.",
    otherwise="blocked: the disk, or a network file system, does not answer.",
    unit="short",
    no_value=_NOT_SCRAPED,
)


def build_dashboard(uid: str) -> dashboard.Dashboard:
    """Give the dashboard."""
    sections = [
        Section("The machine", [Band(4, _build_tiles()), Band(8, _build_work()), Band(8, _build_disks())]),
        Section("The engine's process", [Band(7, _build_engine())]),
        *watchers.build_sections(),
    ]
    return build_board(uid, _ABOUT, sections)


def _build_tiles() -> list[tuple[int, Panel]]:
    tiles = (
        (_CPU_NOW, f"1 - avg by (instance) ({_IDLE})"),
        (_MEMORY_NOW, "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"),
        (_DISK_NOW, f"max by (instance) (1 - node_filesystem_avail_bytes{_DISKS} / (node_filesystem_size_bytes > 0))"),
        (_LOAD_NOW, 'node_load1 / on (instance) count by (instance) (node_cpu_seconds_total{mode="idle"})'),
    )
    return [(6, build_stat(look, Query(expr, "{{instance}}"))) for look, expr in tiles]


def _build_work() -> list[tuple[int, Panel]]:
    modes = 'avg by (instance, mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval]))'
    memory = (
        Query("node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes", "in use"),
        Query("max by (instance) (node_memory_MemTotal_bytes)", "total"),
        Query("node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes", "swap"),
    )
    pressure = [
        Query(f"rate(node_pressure_{kind}_waiting_seconds_total[$__rate_interval])", word)
        for kind, word in (("cpu", "CPU"), ("memory", "memory"), ("io", "disk"))
    ]
    return [
        (8, build_chart(_CPU, Query(modes, "{{mode}}"), stacked=True)),
        (8, build_chart(_MEMORY, *memory)),
        (8, build_chart(_PRESSURE, *pressure)),
    ]


def _build_disks() -> list[tuple[int, Panel]]:
    # A device is mounted at many places in a container.
    full = f"max by (instance, device) (1 - node_filesystem_avail_bytes{_DISKS} / (node_filesystem_size_bytes > 0))"
    traffic = [
        Query(
            f"sum by (device) (rate(node_disk_{name}_bytes_total{_DEVICES}[$__rate_interval]))",
            f"{word} {{{{device}}}}",
        )
        for name, word in (("read", "read"), ("written", "written"))
    ]
    network = [
        Query(f'sum by (instance) (rate(http_{name}_size_bytes_sum{{job="vllm"}}[$__rate_interval]))', word)
        for name, word in (("request", "in {{instance}}"), ("response", "out {{instance}}"))
    ]
    return [
        (8, build_chart(_DISK, Query(full, "{{device}}"), highest=1)),
        (8, build_chart(_TRAFFIC, *traffic)),
        (8, build_chart(_NETWORK, *network)),
    ]


def _build_engine() -> list[tuple[int, Panel]]:
    of = '{job="vllm"}'
    charts = (
        (_ENGINE_CPU, f"rate(process_cpu_seconds_total{of}[$__rate_interval])"),
        (_ENGINE_MEMORY, f"process_resident_memory_bytes{of}"),
        (_ENGINE_FILES, f"process_open_fds{of} / (process_max_fds{of} > 0)"),
    )
    processes = [Query(f"node_procs_{state}", state) for state in ("running", "blocked")]
    return [
        *((6, build_chart(look, Query(expr, "{{instance}}"))) for look, expr in charts),
        (6, build_chart(_PROCESSES, *processes)),
    ]
