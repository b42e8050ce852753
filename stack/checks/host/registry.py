"""Finds the host checks: every module `check_*.py` of this folder holds one, as `CHECK`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from stack.checks.host.check import HostCheck


def load_checks() -> list[HostCheck]:
    """Load all checks, in the order of the report.

    Raises:
        ValueError: Two checks share a name or an order.
    """
    folder = Path(__file__).parent
    names = sorted(found.name for found in pkgutil.iter_modules([str(folder)]) if found.name.startswith("check_"))
    checks = [importlib.import_module(f"stack.checks.host.{name}").CHECK for name in names]
    checks.sort(key=lambda check: check.order)
    for before, after in zip(checks, checks[1:], strict=False):
        if before.order == after.order:
            raise ValueError(f"checks `{before.name}` and `{after.name}` share the order {after.order}")
    if len({check.name for check in checks}) != len(checks):
        raise ValueError("two checks share a name")
    return checks
