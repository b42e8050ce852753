#!/usr/bin/env python3
"""Write grafana/dashboards/*.json from grafana/source/; with `--check`, fail where they differ instead."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # The SDK calls its builders for the classic schema deprecated in favour of v2, which Grafana does not yet
    # read from provisioned files in the same form: https://github.com/grafana/grafana/issues/122663
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders.dashboard import Dashboard
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from source import batching, gpu, host, overview, requests, runs_board, slo

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = {
    "overview": overview.build_dashboard,
    "requests": requests.build_dashboard,
    "kv-cache": batching.build_dashboard,
    "gpu": gpu.build_dashboard,
    "slo": slo.build_dashboard,
    "runs": runs_board.build_dashboard,
    "host": host.build_dashboard,
}


def render_dashboard(board: Dashboard) -> str:
    """Give a dashboard's JSON, the same for the same source."""
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def render_all() -> dict[Path, str]:
    """Give every dashboard file and its text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return {FOLDER / f"{uid}.json": render_dashboard(build(uid)) for uid, build in DASHBOARDS.items()}


def find_differences(wanted: dict[Path, str]) -> list[Path]:
    """Give the files that are not what the source makes, those that it does not make included."""
    there = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))


def main(argv: list[str]) -> int:
    """Write or compare the dashboards; give the exit status."""
    if argv not in ([], ["--check"]):
        sys.stderr.write("usage: python grafana/generate.py [--check]\n")
        return 2
    wanted = render_all()
    differing = find_differences(wanted)
    for path in differing:
        sys.stderr.write(f"{path.name} {'differs from its source' if argv else 'written'}\n")
        if not argv:
            path.write_text(wanted[path], encoding="utf-8") if path in wanted else path.unlink()
    return 1 if argv and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
