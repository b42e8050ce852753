"""A pull's layer reports summed into one number of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHORT_ID = 12
_WHOLE = frozenset({"Already exists", "Download complete", "Pull complete", "Verifying Checksum", "Extracting"})


class LayerProgress:
    """Adds up what the Docker engine reports for each layer.

    Args:
        layer_sizes_bytes: Compressed size of each layer by digest, from the manifest. Without it the total is
            known only as far as layers have begun.
    """

    def __init__(self, layer_sizes_bytes: Mapping[str, int] | None = None) -> None:
        sizes = layer_sizes_bytes or {}
        self._totals = {digest.partition(":")[2][:_SHORT_ID]: size for digest, size in sizes.items()}
        self._done: dict[str, int] = {}

    def add(self, event: Mapping[str, Any]) -> bool:
        """Take one report of the engine; say whether it was about a layer."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        if status == "Pulling fs layer":
            self._done.setdefault(layer, 0)
            return True
        if status == "Downloading":
            detail = event.get("progressDetail") or {}
            total = int(detail.get("total") or 0)
            self._totals[layer] = max(total, self._totals.get(layer, 0))
            self._done[layer] = max(int(detail.get("current") or 0), self._done.get(layer, 0))
            return True
        if status in _WHOLE:
            self._done[layer] = self._totals.get(layer, self._done.get(layer, 0))
            return True
        return False

    @property
    def completed_bytes(self) -> int:
        """Bytes that are here, layers that were here before included."""
        return sum(min(done, self._totals.get(layer, done)) for layer, done in self._done.items())

    @property
    def total_bytes(self) -> int | None:
        """Bytes in all, None until anything is known of them."""
        return sum(self._totals.values()) or None
