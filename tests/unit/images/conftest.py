import contextlib
import shutil
import time

import httpx2
import pytest

from stack.images.registry import Registry
from tests.fixtures.local_registry import serve_registry


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


@pytest.fixture
def start_registry(tmp_path):
    """A function that starts a real registry; it takes more of the registry's own config."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs a real registry: apt-get install docker-registry")
    with contextlib.ExitStack() as stack:

        def start(**more):
            folder = tmp_path / f"registry-{len(more)}-{time.monotonic_ns()}"
            folder.mkdir()
            return stack.enter_context(serve_registry(folder, **more))

        yield start


@pytest.fixture
def local_registry(start_registry):
    return start_registry()
