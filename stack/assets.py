"""Where `compose/`, `grafana/` and `prometheus/` lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED = _PACKAGE / "_assets"
_ROOT = _SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent


def asset_path(*parts: str) -> Path:
    """Give the path of a shipped asset, for example `asset_path("compose", "compose.yaml")`."""
    return _ROOT.joinpath(*parts)
