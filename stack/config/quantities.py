"""Sizes and durations as people write them, to bytes and seconds."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_DURATION_SECONDS = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)


def parse_size_bytes(text: str) -> int:
    """Give the bytes of a size such as `512m`, `8g`, `2GB` or `1GiB`.

    Units: binary, as Docker, nginx and Prometheus all read `k`, `m` and `g` (1 g = 2**30 bytes).

    Raises:
        ValueError: The text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"`{text}` is no size; write a number and a unit, for example `8g` or `512m`")
    number, prefix, _ = match.groups()
    return int(float(number) * _FACTORS[prefix.lower()])


def parse_duration_seconds(text: str) -> float:
    """Give the seconds of a Prometheus duration such as `15d`, `1h30m` or `500ms`.

    Raises:
        ValueError: The text is no duration.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"`{text}` is no duration; write for example `15d`, `12h` or `1h30m`")
    return sum(int(count) * seconds for count, seconds in zip(match.groups(), _DURATION_SECONDS, strict=True) if count)
