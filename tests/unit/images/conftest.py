import contextlib
import json
import shutil
import socket
import subprocess
import time

import httpx2
import pytest

from stack.images.manifests import compute_digest
from stack.images.registry import Registry


class FakeServer:
    """Answers from a table of `METHOD URL`; of a list one after the other."""

    def __init__(self, table):
        self.table = table
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        found = self.table[f"{request.method} {request.url}"]
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        return found(request) if callable(found) else found


@pytest.fixture
def build_registry():
    """A function: a table of answers gives the client, the server and the pauses it made."""
    clients = []

    def build(table, **options):
        server, pauses = FakeServer(table), []
        client = httpx2.Client(transport=httpx2.MockTransport(server))
        clients.append(client)
        return Registry(client, sleep=pauses.append, **options), server, pauses

    yield build
    for client in clients:
        client.close()


class LocalRegistry:
    """Debian's `docker-registry` on a free port of this machine, and what a test does to it over HTTP."""

    def __init__(self, host, client):
        self.host = host
        self.client = client
        self.base = f"http://{host}/v2"

    def push_blob(self, repository, body):
        digest = compute_digest(body)
        started = self.client.post(f"{self.base}/{repository}/blobs/uploads/").raise_for_status()
        location = httpx2.URL(started.headers["location"]).copy_merge_params({"digest": digest})
        self.client.put(location, content=body).raise_for_status()
        return {"digest": digest, "size": len(body)}

    def push_manifest(self, repository, name, document):
        body = json.dumps(document).encode()
        headers = {"Content-Type": document["mediaType"]}
        url = f"{self.base}/{repository}/manifests/{name}"
        self.client.put(url, content=body, headers=headers).raise_for_status()
        return compute_digest(body)

    def push_image(self, repository, tag, *, labels=None, layer=b"layer"):
        """Push an image of one layer and give the digest of its manifest and of its config."""
        media = "application/vnd.docker"
        config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels or {}}}
        pushed = self.push_blob(repository, json.dumps(config).encode())
        document = {
            "schemaVersion": 2,
            "mediaType": f"{media}.distribution.manifest.v2+json",
            "config": {"mediaType": f"{media}.container.image.v1+json"} | pushed,
            "layers": [{"mediaType": f"{media}.image.rootfs.diff.tar.gzip"} | self.push_blob(repository, layer)],
        }
        return self.push_manifest(repository, tag, document), pushed["digest"]

    def delete(self, repository, digest):
        self.client.delete(f"{self.base}/{repository}/manifests/{digest}").raise_for_status()


def run_registry(folder, more):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(config | more))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return f"127.0.0.1:{port}", process


def wait_registry(client, host, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "docker-registry ended at once"
        try:
            client.get(f"http://{host}/v2/")
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry does not answer")


@pytest.fixture
def start_registry(tmp_path):
    """A function that starts a real registry; it takes more of the registry's own config."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    with contextlib.ExitStack() as stack:

        def start(**more):
            folder = tmp_path / f"registry-{len(more)}-{time.monotonic_ns()}"
            folder.mkdir()
            host, process = run_registry(folder, more)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            client = stack.enter_context(httpx2.Client())
            wait_registry(client, host, process)
            return LocalRegistry(host, client)

        yield start


@pytest.fixture
def local_registry(start_registry):
    return start_registry()
