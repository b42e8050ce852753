"""The config and the safetensors headers of a model on the hub, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from stack.errors import ModelError
from stack.models.hub import HubListing, fetch_listing
from stack.models.hub_client import HubClient, import_hub
from stack.models.safetensors_header import SafetensorsHeader, parse_safetensors_header
from stack.models.selection import select_files
from stack.models.sizing_files import SizingFiles, parse_config
from stack.models.transfer import RemoteFile
from stack.progress import ProgressEvent

# Most headers are shorter; the rest of a longer one is a second request.
_FIRST_BYTES = 64 * 1024
_CONFIG_LIMIT_BYTES = 16 * 1024 * 1024
_WORKERS = 8
_CHUNK_BYTES = 64 * 1024


def fetch_sizing_files(client: HubClient) -> SizingFiles:
    """Bring a model's config and headers from the hub; of each weight file only its beginning.

    Raises:
        ModelError: The hub refuses or does not answer, or the model has no safetensors.
    """
    listing = fetch_listing(client)
    config = next((file for file in listing.files if file.name == "config.json"), None)
    if config is None:
        raise ModelError(f"`{client.asked.id}` has no config.json", hint="sizing knows Hugging Face's format only")
    files = {file.name: file for file in listing.files}
    weights = [files[name] for name in select_files(files).weights]
    text = _fetch_start(client, listing, config, min(config.size_bytes, _CONFIG_LIMIT_BYTES))
    headers, fetched = _fetch_headers(client, listing, weights)
    said = f"config and {len(headers)} headers read, {fetched + len(text)} bytes"
    client.report(ProgressEvent(client.task, said, state="done"))
    return SizingFiles(
        parse_config(text, f"config.json of `{client.asked.id}`"),
        headers,
        listing.commit,
        f"{client.asked.endpoint} at {listing.commit[:12]}",
        fetched + len(text),
    )


def _fetch_headers(
    client: HubClient, listing: HubListing, weights: Sequence[RemoteFile]
) -> tuple[tuple[SafetensorsHeader, ...], int]:
    def fetch(file: RemoteFile) -> tuple[SafetensorsHeader, int]:
        return _fetch_header(client, listing, file)

    client.report(ProgressEvent(client.task, f"reading the headers of {len(weights)} weight files"))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="fetch-header") as pool:
        found = list(pool.map(fetch, weights))
    return tuple(header for header, _ in found), sum(size for _, size in found)


def _fetch_header(client: HubClient, listing: HubListing, file: RemoteFile) -> tuple[SafetensorsHeader, int]:
    start = _fetch_start(client, listing, file, min(file.size_bytes, _FIRST_BYTES))
    fetched = len(start)
    found = parse_safetensors_header(start, file.name)
    if isinstance(found, int) and found <= file.size_bytes:
        start = _fetch_start(client, listing, file, found)
        fetched += len(start)
        found = parse_safetensors_header(start, file.name)
    if isinstance(found, int):
        raise ModelError(f"{file.name} of `{client.asked.id}` is shorter than its header says")
    return found, fetched


def _fetch_start(client: HubClient, listing: HubListing, file: RemoteFile, size_bytes: int) -> bytes:
    """Give the first bytes of a file; a server that ignores ranges is left as soon as they are here."""
    url = f"{client.asked.endpoint}/{client.asked.id}/resolve/{listing.commit}/{quote(file.name)}"

    def ask() -> bytes:
        import_hub()
        from huggingface_hub.utils import hf_raise_for_status  # noqa: PLC0415 (slow to import)

        headers = client.build_headers() | {"range": f"bytes=0-{max(size_bytes - 1, 0)}"}
        with client.get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            taken = bytearray()
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                taken += chunk
                if len(taken) >= size_bytes:
                    break
        return bytes(taken[:size_bytes])

    found = client.ask(ask)
    if len(found) < size_bytes:
        raise ModelError(
            f"{client.asked.endpoint} gave {len(found)} of the first {size_bytes} bytes of `{file.name}`",
            hint="try again; a proxy may cut downloads",
        )
    return found
