"""Recorded answers of a Docker engine (20.10.24), cut to what is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def recorded() -> Callable[[str], dict[str, Any]]:
    """A function: the name of a recording gives its document."""
    return lambda name: json.loads((HERE / "recorded" / f"{name}.json").read_text())
