"""The client against Debian's `docker-registry`, on this machine and nowhere else."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.manifests import INDEX_TYPES
from stack.images.pull import MovedTagError, check_tag
from stack.images.reference import apply_mirror, parse_reference
from stack.images.registry import Registry, is_registry_reachable
from stack.images.registry_errors import build_transport_error

COMMIT = "c" * 40
# bcrypt of `secret`, for the registry's htpasswd.
HTPASSWD = "me:$2b$04$BS6J/LQmdrI7yoO9V57.BOHLofXHYKRazCRrIBGUdqXR/5gMSN9jG\n"


@pytest.fixture
def client():
    with httpx2.Client() as client:
        yield client


def test_a_pushed_image_is_described_without_a_pull(local_registry, client):
    digest, image_id = local_registry.push_image(
        "a/b", "t", labels={"org.opencontainers.image.revision": COMMIT}, layer=b"x" * 1234
    )
    reference = parse_reference(f"{local_registry.host}/a/b:t")
    registry = Registry(client)
    assert registry.fetch_digest(reference) == digest
    image = registry.fetch_image(reference)
    assert (image.digest, image.platform_digest, image.image_id) == (digest, digest, image_id)
    assert image.config.labels == {"org.opencontainers.image.revision": COMMIT}
    assert image.size_bytes == 1234
    assert registry.fetch_digest(reference.with_digest(digest)) == digest


def test_an_index_answers_with_its_own_digest(local_registry, client):
    child, image_id = local_registry.push_image("a/b", "child")
    size = len(local_registry.client.get(f"{local_registry.base}/a/b/manifests/{child}").content)
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPES[1],
        "manifests": [
            {
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": child,
                "size": size,
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
    digest = local_registry.push_manifest("a/b", "list", document)
    reference = parse_reference(f"{local_registry.host}/a/b:list")
    image = Registry(client).fetch_image(reference)
    assert Registry(client).fetch_digest(reference) == image.digest == digest
    assert (image.platform_digest, image.image_id) == (child, image_id)
    with pytest.raises(ImageError, match="it offers linux/amd64"):
        Registry(client).fetch_image(reference, platform="linux/arm64")


def test_a_moved_tag_is_found_and_the_old_digest_still_served(local_registry, client):
    old, _ = local_registry.push_image("a/b", "t", layer=b"old")
    new, _ = local_registry.push_image("a/b", "t", layer=b"new")
    reference = parse_reference(f"{local_registry.host}/a/b:t@{old}")
    registry = Registry(client)
    with pytest.raises(MovedTagError) as caught:
        check_tag(registry, reference)
    assert (caught.value.expected, caught.value.served) == (old, new)
    assert registry.fetch_image(reference).digest == old


def test_a_deleted_image_is_missed_with_the_hint(local_registry, client):
    digest, _ = local_registry.push_image("a/b", "t")
    local_registry.delete("a/b", digest)
    for name in ("a/b:t", f"a/b@{digest}", "never/was:t"):
        with pytest.raises(ImageError, match="HTTP 404") as caught:
            Registry(client).fetch_digest(parse_reference(f"{local_registry.host}/{name}"))
        assert "nightly tags" in caught.value.hint


def test_a_mirror_with_a_prefix_is_asked(local_registry, client):
    digest, _ = local_registry.push_image("hub/prom/prometheus", "v3")
    mirror = {"docker.io": f"{local_registry.host}/hub"}
    reference = apply_mirror(parse_reference("prom/prometheus:v3"), mirror)
    assert Registry(client).fetch_digest(reference) == digest


def test_a_registry_with_a_login_is_read_with_it_only(start_registry, tmp_path, client):
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    guarded = start_registry(auth={"htpasswd": {"realm": "r", "path": str(tmp_path / "htpasswd")}})
    guarded.client.auth = httpx2.BasicAuth("me", "secret")
    digest, _ = guarded.push_image("a/b", "t")
    reference = parse_reference(f"{guarded.host}/a/b:t")
    assert is_registry_reachable(guarded.host, client=client).reachable
    with pytest.raises(ImageError, match="HTTP 401") as caught:
        Registry(client).fetch_digest(reference)
    assert f"docker login {guarded.host}" in caught.value.hint
    logins = {guarded.host: ("me", "secret")}
    assert Registry(client, credentials=logins.get).fetch_image(reference).digest == digest
    with pytest.raises(ImageError, match="HTTP 401"):
        Registry(client, credentials=lambda host: ("me", "wrong")).fetch_digest(reference)


def test_a_running_registry_is_reachable_and_a_closed_port_is_not(local_registry, client):
    assert is_registry_reachable(local_registry.host, client=client) == (True, "it answers")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = is_registry_reachable(f"127.0.0.1:{closed.getsockname()[1]}", client=client)
    assert found == (False, "connection refused")


def test_a_port_that_accepts_and_says_nothing_is_not_reachable(client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = is_registry_reachable(f"127.0.0.1:{silent.getsockname()[1]}", 0.5, client=client)
    assert not found.reachable
    assert "no answer" in found.reason


def test_a_certificate_that_is_not_trusted_is_told_as_such(tmp_path, client):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):  # the client hangs up, as it should
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(httpx2.ConnectError) as caught:
            client.get(f"https://127.0.0.1:{server.getsockname()[1]}/v2/")
        thread.join()
    error = build_transport_error(caught.value, "registry.example")
    assert error.message.startswith(
        "the connection to registry.example cannot be trusted: its certificate is not valid here (self"
    )
    assert "images.ca-bundle" in error.hint
