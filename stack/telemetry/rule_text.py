"""Prometheus rules as text. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def render_group(name: str, interval: str | None, rules: Sequence[Mapping[str, object]]) -> str:
    """Give one rule group as YAML, to be put under `groups:`.

    Strings are written as JSON, which every reader of YAML takes for the same strings.

    Args:
        name: The group's name.
        interval: How often it is judged; None for as often as Prometheus judges everything.
        rules: The rules; what is a mapping in one becomes one.
    """
    lines = [f"  - name: {name}"]
    if interval is not None:
        lines.append(f"    interval: {interval}")
    lines.append("    rules:")
    for rule in rules:
        for number, (key, value) in enumerate(rule.items()):
            start = "      - " if number == 0 else "        "
            if isinstance(value, dict):
                lines.append(f"{start}{key}:")
                lines += [f"          {label}: {json.dumps(text)}" for label, text in value.items()]
            else:
                lines.append(f"{start}{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"
