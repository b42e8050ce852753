"""Records of images built here, kept in the project's state too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

from stack.containers.daemon import read_image
from stack.errors import HostError
from stack.images.build_record import RECORD_LABEL, hash_record, parse_record
from stack.images.build_seal import extract_record
from stack.operations.project import ProjectPaths
from stack.operations.write import build_folder_error, write_whole


def keep_record(
    paths: ProjectPaths, client: docker.DockerClient, service: str, image: str, built: bytes | None
) -> dict[str, Any] | None:
    """Have the record of a service's image in the state, and give it; None for an image that has none.

    Args:
        paths: The project's folders.
        client: The daemon.
        service: The service.
        image: The image's ID here.
        built: The record, where the image was built just now.

    Raises:
        ImageError: It cannot be read, or is none.
        HostError: It cannot be written.
    """
    path = build_record_path(paths, service)
    content = built
    if content is None:
        label = _read_label(read_image(client, image))
        if label is None:
            return None
        content = _read_kept(path, label) or extract_record(client, image)
        if content is None or hash_record(content) != label:
            return None
    record = parse_record(content, image)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise build_folder_error(path.parent, err) from err
    if _read_kept(path, hash_record(content)) is None:
        write_whole(path, content.decode())
    return record


def load_record(paths: ProjectPaths, service: str) -> dict[str, Any] | None:
    """Give the record of a service's image as the state has it, or None.

    Raises:
        ImageError: It is damaged.
    """
    path = build_record_path(paths, service)
    return parse_record(path.read_bytes(), str(path)) if path.is_file() else None


def build_record_path(paths: ProjectPaths, service: str) -> Path:
    """Give where the state keeps the record of a service's image."""
    return paths.builds / f"{service}.json"


def _read_label(image: Mapping[str, Any] | None) -> str | None:
    labels = ((image or {}).get("Config") or {}).get("Labels") or {}
    return labels.get(RECORD_LABEL)


def _read_kept(path: Path, label: str) -> bytes | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise HostError(f"{path} cannot be read: {err.strerror}") from err
    return content if hash_record(content) == label else None
