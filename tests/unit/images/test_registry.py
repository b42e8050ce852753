"""Every branch of the protocol, against answers made up here; test_registry_real.py asks a real one."""

import email.utils
import json
import socket
import ssl

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.manifests import ACCEPT, INDEX_TYPES, MANIFEST_TYPES, compute_digest
from stack.images.reference import parse_reference
from stack.images.registry import is_registry_reachable

LAYER = "sha256:" + "1" * 64
CONFIG = json.dumps(
    {
        "config": {
            "Labels": {"org.opencontainers.image.revision": "f" * 40},
            "Env": ["A=b"],
            "Entrypoint": ["x"],
        }
    }
).encode()
MANIFEST = json.dumps(
    {
        "mediaType": MANIFEST_TYPES[0],
        "config": {"digest": compute_digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": LAYER, "size": 1000}],
    }
).encode()
INDEX = json.dumps(
    {
        "mediaType": INDEX_TYPES[0],
        "manifests": [{"digest": compute_digest(MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}}],
    }
).encode()
REFERENCE = parse_reference("registry.example/a/b:t")


def answer(status=200, body=b"", **headers):
    return httpx2.Response(status, content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def serve_manifest(body, content_type, **headers):
    return answer(200, body, content_type=content_type, docker_content_digest=compute_digest(body), **headers)


TAG = "https://registry.example/v2/a/b/manifests/t"


def test_the_digest_is_asked_for_without_moving_a_body(build_registry):
    registry, server, _ = build_registry({f"HEAD {TAG}": serve_manifest(INDEX, INDEX_TYPES[0])})
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)
    assert [request.method for request in server.requests] == ["HEAD"]


def test_all_four_media_types_are_offered(build_registry):
    registry, server, _ = build_registry({f"HEAD {TAG}": serve_manifest(INDEX, INDEX_TYPES[0])})
    registry.fetch_digest(REFERENCE)
    assert server.requests[0].headers["accept"] == ACCEPT
    assert all(media_type in ACCEPT for media_type in INDEX_TYPES + MANIFEST_TYPES)


def test_a_registry_that_tells_no_digest_is_read_and_hashed(build_registry):
    registry, _, _ = build_registry(
        {f"HEAD {TAG}": answer(), f"GET {TAG}": answer(200, INDEX, content_type=INDEX_TYPES[0])}
    )
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)


def test_docker_hub_is_asked_at_its_own_host(build_registry):
    url = "https://registry-1.docker.io/v2/library/nginx/manifests/1"
    registry, _, _ = build_registry({f"HEAD {url}": serve_manifest(INDEX, INDEX_TYPES[0])})
    assert registry.fetch_digest(parse_reference("nginx:1")) == compute_digest(INDEX)


def test_plain_http_is_spoken_to_this_machine_only(build_registry):
    url = "http://127.0.0.1:5000/v2/x/manifests/t"
    registry, _, _ = build_registry({f"HEAD {url}": serve_manifest(INDEX, INDEX_TYPES[0])})
    assert registry.fetch_digest(parse_reference("127.0.0.1:5000/x:t")) == compute_digest(INDEX)


@pytest.mark.parametrize("media_type", MANIFEST_TYPES)
def test_an_image_for_one_platform_is_described(build_registry, media_type):
    body = MANIFEST.replace(MANIFEST_TYPES[0].encode(), media_type.encode())
    blob = f"https://registry.example/v2/a/b/blobs/{compute_digest(CONFIG)}"
    registry, _, _ = build_registry(
        {f"GET {TAG}": serve_manifest(body, media_type), f"GET {blob}": answer(200, CONFIG)}
    )
    image = registry.fetch_image(REFERENCE)
    assert image.digest == image.platform_digest == compute_digest(body)
    assert image.image_id == compute_digest(CONFIG)
    assert image.config.labels == {"org.opencontainers.image.revision": "f" * 40}
    assert (image.config.environment, image.config.entrypoint) == ({"A": "b"}, ("x",))
    assert image.size_bytes == 1000


@pytest.mark.parametrize("media_type", INDEX_TYPES)
def test_an_index_is_pinned_as_itself_and_resolved_to_the_platform(build_registry, media_type):
    index = INDEX.replace(INDEX_TYPES[0].encode(), media_type.encode())
    base = "https://registry.example/v2/a/b"
    registry, _, _ = build_registry(
        {
            f"GET {TAG}": serve_manifest(index, media_type),
            f"GET {base}/manifests/{compute_digest(MANIFEST)}": serve_manifest(MANIFEST, MANIFEST_TYPES[0]),
            f"GET {base}/blobs/{compute_digest(CONFIG)}": answer(200, CONFIG),
        }
    )
    image = registry.fetch_image(REFERENCE)
    assert image.digest == compute_digest(index)
    assert image.platform_digest == compute_digest(MANIFEST)


def test_a_reference_without_tag_and_digest_is_not_asked_for(build_registry):
    registry, server, _ = build_registry({})
    with pytest.raises(ImageError, match="neither a tag nor a digest"):
        registry.fetch_digest(REFERENCE.with_tag(None))
    assert server.requests == []


# --- digests that do not hold


def test_a_body_other_than_the_digest_asked_for_is_refused(build_registry):
    asked = REFERENCE.with_digest("sha256:" + "9" * 64)
    url = f"https://registry.example/v2/a/b/manifests/{asked.digest}"
    registry, _, _ = build_registry({f"GET {url}": answer(200, INDEX, content_type=INDEX_TYPES[0])})
    with pytest.raises(ImageError, match="serves other bytes") as caught:
        registry.fetch_manifest(asked)
    assert asked.digest in caught.value.message
    assert compute_digest(INDEX) in caught.value.message


def test_a_body_other_than_the_digest_in_the_header_is_refused(build_registry):
    lie = answer(200, INDEX, content_type=INDEX_TYPES[0], docker_content_digest="sha256:" + "9" * 64)
    registry, _, _ = build_registry({f"GET {TAG}": lie})
    with pytest.raises(ImageError, match="serves other bytes"):
        registry.fetch_manifest(REFERENCE)


def test_a_digest_header_that_is_none_is_not_compared(build_registry):
    odd = answer(200, INDEX, content_type=INDEX_TYPES[0], docker_content_digest="sha512:00")
    registry, _, _ = build_registry({f"GET {TAG}": odd, f"HEAD {TAG}": odd})
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)


def test_a_head_that_names_another_digest_than_asked_is_refused(build_registry):
    asked = REFERENCE.with_digest("sha256:" + "9" * 64)
    url = f"https://registry.example/v2/a/b/manifests/{asked.digest}"
    registry, _, _ = build_registry({f"HEAD {url}": serve_manifest(INDEX, INDEX_TYPES[0])})
    with pytest.raises(ImageError, match="serves other bytes"):
        registry.fetch_digest(asked)


def test_a_config_blob_with_other_bytes_is_refused(build_registry):
    blob = f"https://registry.example/v2/a/b/blobs/{compute_digest(CONFIG)}"
    registry, _, _ = build_registry(
        {f"GET {TAG}": serve_manifest(MANIFEST, MANIFEST_TYPES[0]), f"GET {blob}": answer(200, b"{}")}
    )
    with pytest.raises(ImageError, match="serves other bytes"):
        registry.fetch_image(REFERENCE)


def test_a_body_that_never_ends_is_cut(build_registry):
    big = answer(200, b"0" * (9 * 1024 * 1024), content_type=INDEX_TYPES[0])
    registry, _, _ = build_registry({f"GET {TAG}": big})
    with pytest.raises(ImageError, match="more than 8388608 bytes"):
        registry.fetch_manifest(REFERENCE)


def test_an_answer_that_trickles_is_cut_by_the_clock(build_registry):
    class Trickle(httpx2.SyncByteStream):
        def __iter__(self):
            while True:
                yield b" "

    ticks = iter(range(0, 1000, 2))
    registry, _, _ = build_registry(
        {f"GET {TAG}": lambda request: httpx2.Response(200, stream=Trickle())},
        clock=lambda: float(next(ticks)),
        retries=1,
    )
    with pytest.raises(ImageError, match="no answer in time"):
        registry.fetch_manifest(REFERENCE)


# --- redirects


def test_a_redirect_to_another_host_gets_no_token(build_registry):
    blob = f"https://registry.example/v2/a/b/blobs/{compute_digest(CONFIG)}"
    challenge = 'Bearer realm="https://auth.example/token",service="s",scope="repository:a/b:pull"'
    manifest = serve_manifest(MANIFEST, MANIFEST_TYPES[0])
    registry, server, _ = build_registry(
        {
            f"GET {TAG}": [answer(401, www_authenticate=challenge), manifest],
            "GET https://auth.example/token?scope=repository%3Aa%2Fb%3Apull&service=s": answer(200, b'{"token": "T"}'),
            f"GET {blob}": answer(307, location="https://blobs.example/x?sig=1"),
            "GET https://blobs.example/x?sig=1": answer(200, CONFIG),
        }
    )
    registry.fetch_image(REFERENCE)
    sent = {str(request.url): request.headers.get("authorization") for request in server.requests}
    assert sent[blob] == "Bearer T"
    assert sent["https://blobs.example/x?sig=1"] is None


def test_a_redirect_on_the_same_host_keeps_the_token(build_registry):
    login = {"registry.example": ("user", "secret")}
    other = "https://registry.example/elsewhere"
    registry, server, _ = build_registry(
        {
            f"HEAD {TAG}": lambda request: (
                answer(307, location="/elsewhere")
                if "authorization" in request.headers
                else answer(401, www_authenticate='Basic realm="r"')
            ),
            f"HEAD {other}": serve_manifest(INDEX, INDEX_TYPES[0]),
        },
        credentials=login.get,
    )
    registry.fetch_digest(REFERENCE)
    assert server.requests[-1].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize(
    "location",
    ["http://blobs.example/x", "http://127.0.0.1/x", "file:///etc/passwd", "ftp://blobs.example/x"],
)
def test_a_redirect_away_from_https_is_not_followed(build_registry, location):
    registry, _, _ = build_registry({f"HEAD {TAG}": answer(307, location=location)})
    with pytest.raises(ImageError, match="which is not safe"):
        registry.fetch_digest(REFERENCE)


def test_a_redirect_to_nonsense_is_an_error(build_registry):
    registry, _, _ = build_registry({f"HEAD {TAG}": answer(307, location="https://[::::/x")})
    with pytest.raises(ImageError, match="which is no URL"):
        registry.fetch_digest(REFERENCE)


def test_redirects_in_circles_end(build_registry):
    registry, server, _ = build_registry({f"HEAD {TAG}": answer(307, location=TAG)})
    with pytest.raises(ImageError, match="redirects more than 5 times"):
        registry.fetch_digest(REFERENCE)
    assert len(server.requests) == 6


# --- patience


def test_too_many_requests_are_waited_out_as_the_registry_says(build_registry):
    registry, server, pauses = build_registry(
        {f"HEAD {TAG}": [answer(429, retry_after="7"), answer(429), serve_manifest(INDEX, INDEX_TYPES[0])]}
    )
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)
    assert pauses == [7.0, 1.0]
    assert len(server.requests) == 3


def test_a_retry_after_that_is_a_date_is_understood(build_registry):
    now = 1_800_000_000.0
    date = email.utils.formatdate(now + 12, usegmt=True)
    registry, _, pauses = build_registry(
        {f"HEAD {TAG}": [answer(503, retry_after=date), serve_manifest(INDEX, INDEX_TYPES[0])]},
        now=lambda: now,
    )
    registry.fetch_digest(REFERENCE)
    assert pauses == [12.0]


def test_a_retry_after_that_is_nonsense_falls_back_on_our_own_pause(build_registry):
    registry, _, pauses = build_registry(
        {f"HEAD {TAG}": [answer(503, retry_after="soon"), serve_manifest(INDEX, INDEX_TYPES[0])]}
    )
    registry.fetch_digest(REFERENCE)
    assert pauses == [0.5]


def test_a_pause_of_an_hour_is_told_and_not_slept(build_registry):
    registry, _, pauses = build_registry({f"HEAD {TAG}": answer(429, retry_after="3600")})
    with pytest.raises(ImageError, match="HTTP 429"):
        registry.fetch_digest(REFERENCE)
    assert pauses == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failing_registry_is_given_up_after_the_retries(build_registry, status):
    registry, server, pauses = build_registry({f"HEAD {TAG}": answer(status)}, retries=3)
    with pytest.raises(ImageError, match=f"HTTP {status}") as caught:
        registry.fetch_digest(REFERENCE)
    assert pauses == [0.5, 1.0, 2.0]
    assert len(server.requests) == 4
    assert "--images packages" in caught.value.hint


@pytest.mark.parametrize(
    "lost", [httpx2.ReadTimeout("slow"), httpx2.ReadError("reset"), httpx2.RemoteProtocolError("cut")]
)
def test_a_lost_connection_is_tried_again(build_registry, lost):
    registry, _, pauses = build_registry({f"HEAD {TAG}": [lost, serve_manifest(INDEX, INDEX_TYPES[0])]})
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)
    assert pauses == [0.5]


def caused(error, cause):
    error.__cause__ = cause
    return error


CERTIFICATE = ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate in chain")


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (
            caused(httpx2.ConnectError("x"), socket.gaierror(-2, "Name or service not known")),
            "registry.example is not reachable: its name cannot be resolved",
            "images.mirror",
        ),
        (
            caused(httpx2.ConnectError("x"), ConnectionRefusedError(111, "refused")),
            "registry.example is not reachable: connection refused",
            "--images packages",
        ),
        (
            caused(httpx2.ConnectError("x"), CERTIFICATE),
            "the connection to registry.example cannot be trusted: its certificate is not valid here",
            "images.ca-bundle",
        ),
        (
            caused(httpx2.ConnectError("x"), ssl.SSLError("wrong version number")),
            "the connection to registry.example cannot be trusted",
            "images.ca-bundle",
        ),
        (httpx2.ConnectError("odd"), "registry.example is not reachable: odd", "images.mirror"),
    ],
)
def test_an_unreachable_registry_is_explained_at_once(build_registry, error, said, hint):
    registry, server, pauses = build_registry({f"HEAD {TAG}": error})
    with pytest.raises(ImageError) as caught:
        registry.fetch_digest(REFERENCE)
    assert caught.value.message.startswith(said)
    assert hint in caught.value.hint
    assert (len(server.requests), pauses) == (1, [])


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (401, "to nobody without a login", "docker login registry.example"),
        (403, "refuses `registry.example/a/b:t`", "docker login"),
        (404, "has no `registry.example/a/b:t`", "nightly tags"),
        (418, "HTTP 418", None),
    ],
)
def test_a_refusal_is_explained_and_not_repeated(build_registry, status, said, hint):
    registry, server, _ = build_registry({f"HEAD {TAG}": answer(status)})
    with pytest.raises(ImageError, match=said) as caught:
        registry.fetch_digest(REFERENCE)
    assert (hint in caught.value.hint) if hint else caught.value.hint is None
    assert len(server.requests) == 1


# --- reachability


def probe(found, host="registry.example", timeout_seconds=5.0):
    def handle(request):
        if isinstance(found, Exception):
            raise found
        return found

    return is_registry_reachable(host, timeout_seconds, client=httpx2.Client(transport=httpx2.MockTransport(handle)))


API = {"docker_distribution_api_version": "registry/2.0"}


@pytest.mark.parametrize(
    ("found", "reachable", "reason"),
    [
        (answer(200, **API), True, "it answers"),
        (answer(200, b"{}", content_type="application/json"), True, "it answers"),
        (answer(401, www_authenticate='Bearer realm="https://a.example"'), True, "it answers"),
        (answer(429), True, "limits requests"),
        (answer(200, b"<html>", content_type="text/html"), False, "not a registry"),
        (answer(403), False, "not a registry"),
        (answer(302, location="https://portal.example"), False, "not a registry"),
        (answer(503, **API), False, "HTTP 503"),
        (caused(httpx2.ConnectError("x"), socket.gaierror(-2, "n")), False, "name cannot be resolved"),
        (httpx2.ConnectTimeout("x"), False, "no answer in time"),
    ],
)
def test_only_a_registry_counts_as_reachable(found, reachable, reason):
    answered = probe(found)
    assert answered.reachable is reachable
    assert reason in answered.reason


def test_a_name_server_that_never_answers_is_not_waited_for():
    import threading

    release = threading.Event()

    def handle(request):
        release.wait(60)
        return answer(200, **API)

    client = httpx2.Client(transport=httpx2.MockTransport(handle))
    try:
        reachable, reason = is_registry_reachable("registry.example", 0.3, client=client)
    finally:
        release.set()
    assert (reachable, reason) == (False, "no answer within 0.3 s")


def test_a_name_that_does_not_exist_is_known_at_once():
    with httpx2.Client() as client:
        reachable, reason = is_registry_reachable("no-such-registry.invalid", 30.0, client=client)
    assert not reachable
    assert reason == "its name cannot be resolved"
