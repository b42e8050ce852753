"""The last step of a build: the image gets its record and the labels that vouch for it, and only then its name."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import docker
import requests
from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from stack.errors import ImageError
from stack.images.build_record import (
    INSTALLED_FILE,
    PACKAGES_LABEL,
    RECORD_FILE,
    RECORD_LABEL,
    BuiltFiles,
    build_record,
    hash_record,
    read_package_set,
    render_record,
)
from stack.images.packages import find_differences
from stack.images.recipe import ImageRecipe

_DPKG_STATUS, _DEBIAN_VERSION = "/var/lib/dpkg/status", "/etc/debian_version"
_MOST_BYTES = 64 * 1024**2
_HINT = "look at `docker info` and the daemon's log, then run it again"


def seal_image(client: docker.DockerClient, recipe: ImageRecipe, image_id: str, tag: str) -> bytes:
    """Put the record into an image that was just built, name it, and give the record.

    Nothing of the image is run. An interrupt leaves an image without a name, which Docker counts as garbage.

    Args:
        client: The daemon.
        recipe: What was built.
        image_id: What the build came to.
        tag: The name that it gets.

    Raises:
        ImageError: The packages are not those that are locked, or the daemon refuses.
    """
    with _translated(f"writing the build record of {tag}"):
        base_id = str(client.images.get(recipe.base.tag).id)
        container = client.containers.create(image_id)
        try:
            document = build_record(recipe, base_id, _read_files(container))
            found = read_package_set(document)
            if recipe.locked is not None and found is not None:
                _demand(find_differences(recipe.locked, found), tag)
            content = render_record(document)
            labels = {RECORD_LABEL: hash_record(content)}
            if found is not None:
                labels[PACKAGES_LABEL] = found.hash()
            container.put_archive("/", _pack(content))
            repository, _, name = tag.rpartition(":")
            changes = [f'LABEL {label}="{value}"' for label, value in labels.items()]
            container.commit(repository, name, changes=changes)
        finally:
            container.remove(v=True, force=True)
    return content


def extract_record(client: docker.DockerClient, image_id: str) -> bytes | None:
    """Read the record out of an image, running nothing of it; None where it has none, or no plain file in its place.

    Raises:
        ImageError: The daemon refuses, or it is far too large.
    """
    with _translated(f"reading the build record of {image_id}"):
        container = client.containers.create(image_id)
        try:
            return _read_file(container, RECORD_FILE)
        finally:
            container.remove(v=True, force=True)


def _read_files(container: Container) -> BuiltFiles:
    installed = _read_file(container, INSTALLED_FILE)
    try:
        return BuiltFiles(
            json.loads(installed) if installed is not None else None,
            (_read_file(container, _DPKG_STATUS) or b"").decode(),
            (_read_file(container, _DEBIAN_VERSION) or b"").decode(),
        )
    except (ValueError, RecursionError) as err:
        raise ImageError(f"the built image has a file that cannot be read: {err}", hint="build it anew") from err


def _read_file(container: Container, path: str) -> bytes | None:
    try:
        stream, _ = container.get_archive(path)
    except NotFound:
        return None
    packed = bytearray()
    for piece in stream:
        packed += piece
        if len(packed) > _MOST_BYTES:
            raise ImageError(f"{path} in the image is larger than {_MOST_BYTES} bytes", hint="build the image anew")
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            member = archive.next()
            # A link would lead to whatever else the image has.
            file = archive.extractfile(member) if member is not None and member.isreg() else None
            return file.read() if file is not None else None
    except tarfile.TarError as err:
        raise ImageError(f"{path} in the image cannot be read: {err}", hint=_HINT) from err


def _pack(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folder = tarfile.TarInfo(str(PurePosixPath(RECORD_FILE).parent).lstrip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        entry = tarfile.TarInfo(RECORD_FILE.lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _demand(differences: list[str], tag: str) -> None:
    if differences:
        listed = "\n".join(f"- {line}" for line in differences)
        raise ImageError(
            f"{tag} came out with other packages than stack.lock has:\n{listed}",
            hint="where that is what you want, delete the engine's `[builds]` from stack.lock, then run it again",
        )


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except (DockerException, requests.RequestException) as err:
        raise ImageError(f"{action} failed: {err}", hint=_HINT) from err
