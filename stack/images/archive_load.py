"""From the archive into a Docker daemon: a stream for `docker load`, and the proof that the image is that one.

The stream is an OCI image layout and a `docker save` archive at once, for both name the same blobs: a daemon on
containerd's image store, and the classic store since Engine 25, read either; older ones read manifest.json alone.

What the daemon then calls the image depends on its store. The classic one gives it the digest of its config, and
knows of no manifest any more; containerd's gives it the digest of the manifest or index. Which store a daemon has
is read from its own `docker info`.

Source: Docker Engine API, `POST /images/load`; moby's image/tarexport and daemon/containerd; checked against
Engine 20.10 and, on either store, Engine 26.1.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import docker.errors
import requests
import urllib3

from stack.errors import ImageError
from stack.images.archive_layout import (
    LAYOUT,
    ArchivedImage,
    Blob,
    build_blob_name,
    render_load_index,
    render_load_manifest,
)
from stack.images.archive_store import Archive, DamagedBlobError
from stack.images.reference import ImageReference, parse_reference
from stack.progress import ProgressEvent, Report

if TYPE_CHECKING:
    from docker import DockerClient

Store = Literal["classic", "containerd"]

_CONTAINERD = "io.containerd.snapshotter.v1"


def find_store(info: Mapping[str, Any]) -> Store:
    """Tell which image store a daemon has, from its `docker info`."""
    rows = info.get("DriverStatus") or []
    return "containerd" if any(list(row) == ["driver-type", _CONTAINERD] for row in rows) else "classic"


def list_image_ids(image: ArchivedImage, store: Store) -> tuple[str, ...]:
    """Give the IDs under which a daemon may have a kept image, and no other image."""
    if store == "classic":
        return (image.image_id,)
    return tuple(dict.fromkeys((image.digest, image.platform_digest)))


def load_image(client: DockerClient, archive: Archive, image: ArchivedImage, report: Report) -> str:
    """Load a kept image, every blob of it checked on the way, and give its ID in the daemon.

    Raises:
        DamagedBlobError: A blob is gone or damaged; nothing was loaded.
        ImageError: The daemon refuses it, or has another image than the one that was sent.
    """
    reference = parse_reference(image.reference)
    task = f"load {reference.repository.removeprefix('library/')}"
    with archive.using(report):
        return send_image(client, image, build_stream(archive, image, _choose_tag(client, image)), report, task)


def send_image(client: DockerClient, image: ArchivedImage, pieces: Iterator[bytes], report: Report, task: str) -> str:
    """Give the daemon a stream that holds an image, and give the image's ID there.

    Raises:
        ImageError: The daemon refuses it, or has another image than the one that was meant.
    """
    send_stream(client, pieces, image.reference, image.total_bytes, report, task)
    image_id = demand_loaded(client, image)
    report(ProgressEvent(task, image.digest, image.total_bytes, image.total_bytes, "done"))
    return image_id


def send_stream(
    client: DockerClient, pieces: Iterator[bytes], name: str, size_bytes: int, report: Report, task: str
) -> None:
    """Give the daemon a tar for `docker load`; of a stream that ends too early it takes nothing.

    Args:
        client: The daemon.
        pieces: The tar.
        name: What is in it, for messages.
        size_bytes: About how much that is.
        report: Told the bytes.
        task: The task's name in reports.

    Raises:
        ImageError: The daemon refuses it.
    """
    try:
        _send(client, _count(pieces, size_bytes, task, report), name)
    except ImageError as err:
        report(ProgressEvent(task, err.message, state="failed"))
        raise


def demand_loaded(client: DockerClient, image: ArchivedImage) -> str:
    """Give the ID of an image that the daemon says to have loaded.

    Raises:
        ImageError: It has another one than was meant, or none.
    """
    image_id = find_loaded(client, image)
    if image_id is None:
        raise ImageError(
            f"the Docker engine says to have loaded `{image.reference}`, but has no image of {image.digest}",
            hint="update the Docker engine, or pull the image from a registry",
        )
    return image_id


def find_loaded(client: DockerClient, image: ArchivedImage) -> str | None:
    """Give the ID of a kept image in the daemon, or None where it is not there."""
    try:
        known = list_image_ids(image, find_store(client.info()))
    except (docker.errors.DockerException, requests.RequestException) as err:
        raise ImageError(f"the Docker engine cannot be asked for its image store: {err}") from err
    return next((found for found in (_get_id(client, image_id) for image_id in known) if found in known), None)


def build_stream(archive: Archive, image: ArchivedImage, tag: ImageReference | None) -> Iterator[bytes]:
    """Give a tar for `docker load`, in pieces.

    Raises:
        DamagedBlobError: A blob is gone or damaged; the stream then ends before it is whole.
    """
    layers = [str(layer["digest"]) for layer in archive.read_manifest(image).document["layers"]]
    yield from _build_member("oci-layout", LAYOUT.encode())
    yield from _build_member("index.json", render_load_index(image, tag).encode())
    yield from _build_member("manifest.json", render_load_manifest(image, layers, tag).encode())
    for blob in image.blobs:
        yield from _build_blob(archive, image, blob)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _build_blob(archive: Archive, image: ArchivedImage, blob: Blob) -> Iterator[bytes]:
    if not archive.has(blob):
        raise DamagedBlobError(archive.blob_path(blob.digest), "is not there, or not all of it", image)
    yield _build_header(build_blob_name(blob.digest), blob.size_bytes)
    yield from archive.read_pieces(blob, image)
    yield bytes(-blob.size_bytes % tarfile.BLOCKSIZE)


def _build_member(name: str, body: bytes) -> Iterator[bytes]:
    yield _build_header(name, len(body)) + body + bytes(-len(body) % tarfile.BLOCKSIZE)


def _build_header(name: str, size_bytes: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def _choose_tag(client: DockerClient, image: ArchivedImage) -> ImageReference | None:
    """Give the name that a pull would give it, unless another image has it here; without one `docker` prunes it.

    That is the name of whoever served it: under upstream's own it would pass for what upstream served.
    """
    reference = parse_reference(image.served_by).with_digest(None).with_tag(parse_reference(image.reference).tag)
    if reference.tag is not None and _get_id(client, str(reference)) is None:
        return reference
    return parse_reference(f"localhost/stack/archive:{image.digest.removeprefix('sha256:')[:12]}")


def _get_id(client: DockerClient, name: str) -> str | None:
    try:
        return str(client.images.get(name).id)
    except docker.errors.ImageNotFound:
        return None
    except (docker.errors.DockerException, requests.RequestException) as err:
        raise ImageError(f"the Docker engine cannot be asked for `{name}`: {err}") from err


def _count(pieces: Iterator[bytes], total: int, task: str, report: Report) -> Iterator[bytes]:
    sent = 0
    for piece in pieces:
        sent += len(piece)
        report(ProgressEvent(task, "", min(sent, total), total))
        if piece:
            yield piece
    report(ProgressEvent(task, "the Docker engine unpacks it", total, total))


def _send(client: DockerClient, pieces: Iterator[bytes], name: str) -> None:
    api = client.api
    # The SDK's own `load` gives up where the daemon says nothing for as long as it takes to unpack a large layer.
    url = f"{api.base_url}/v{api.api_version}/images/load"
    try:
        with api.post(
            url, data=pieces, headers={"Content-Type": "application/x-tar"}, stream=True, timeout=None
        ) as got:
            lines = [line for line in got.iter_lines() if line]
            status = got.status_code
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as err:
        raise ImageError(f"the Docker engine broke off while `{name}` was loaded: {err}") from err
    refused = _find_error(lines, status)
    if refused:
        raise ImageError(f"the Docker engine does not load `{name}`: {refused}", hint=_hint(refused))


def _find_error(lines: list[bytes], status: int) -> str | None:
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and (said.get("error") or (status >= 400 and said.get("message"))):
            return str(said.get("error") or said.get("message"))
    return f"HTTP {status}" if status >= 400 else None


def _hint(said: str) -> str:
    if "no space left" in said:
        return "make room where Docker keeps its images: `docker system df`, `docker image prune`"
    return "update the Docker engine: an old one may not read the image's layers"
