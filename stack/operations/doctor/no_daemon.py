"""A stand-in for the daemon where none answers, so that everything else can still be decided."""

from __future__ import annotations

from typing import Any

from docker.errors import ImageNotFound


class NoDaemon:
    """Answers like a daemon that has nothing, and that could give a GPU: what is not known counts for the user."""

    def __init__(self) -> None:
        self.containers = self
        self.images = self

    def list(self, **options: Any) -> list[Any]:
        """Give no containers."""
        return []

    def get(self, name: str) -> Any:
        """Find no image.

        Raises:
            ImageNotFound: Always.
        """
        raise ImageNotFound(f"no daemon to ask for {name}")

    def info(self) -> dict[str, Any]:
        """Say what lets a GPU be chosen."""
        return {"Runtimes": {"nvidia": {}}}
