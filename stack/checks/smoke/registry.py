"""Finds the checks: every module `check_*.py` of this folder holds one, as `CHECK`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from stack.checks.smoke.check import Check


def load_checks() -> list[Check]:
    """Load all checks, in the order of the report.

    Raises:
        ValueError: Two checks share a name or an order, or one needs what does not run before it.
    """
    folder = Path(__file__).parent
    names = sorted(found.name for found in pkgutil.iter_modules([str(folder)]) if found.name.startswith("check_"))
    modules = [importlib.import_module(f"stack.checks.smoke.{name}") for name in names]
    checks = sorted((module.CHECK for module in modules), key=lambda check: check.order)
    _demand_consistent(checks)
    return checks


def _demand_consistent(checks: list[Check]) -> None:
    seen: dict[str, Check] = {}
    orders: set[int] = set()
    for check in checks:
        if check.name in seen or check.order in orders:
            raise ValueError(f"check `{check.name}` shares its name or order {check.order} with another one")
        for need in check.needs:
            if need not in seen or seen[need].lane != check.lane:
                raise ValueError(f"check `{check.name}` needs `{need}`, which does not run before it")
        seen[check.name] = check
        orders.add(check.order)
