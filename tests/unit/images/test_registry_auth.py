import base64
import json

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.manifests import INDEX_TYPES, compute_digest
from stack.images.reference import parse_reference
from stack.images.registry_auth import parse_challenge, read_docker_login


def answer(status=200, body=b"", **headers):
    return httpx2.Response(status, content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


REFERENCE = parse_reference("registry.example/a/b:t")
TAG = "https://registry.example/v2/a/b/manifests/t"
INDEX = json.dumps({"mediaType": INDEX_TYPES[0], "manifests": []}).encode()
SERVED = answer(200, INDEX, content_type=INDEX_TYPES[0], docker_content_digest=compute_digest(INDEX))
CHALLENGE = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull"'
TOKEN_URL = "GET https://auth.example/token?scope=repository%3Aa%2Fb%3Apull&service=reg"


def only_with(token):
    def handle(request):
        if request.headers.get("authorization") == f"Bearer {token}":
            return SERVED
        return answer(401, www_authenticate=CHALLENGE)

    return handle


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_bearer_challenge_is_followed_without_a_login(build_registry, key):
    body = json.dumps({key: "T1"}).encode()
    registry, server, _ = build_registry({f"HEAD {TAG}": only_with("T1"), TOKEN_URL: answer(200, body)})
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)
    assert "authorization" not in server.requests[1].headers


def test_a_token_is_kept_for_its_repository_and_renewed_when_refused(build_registry):
    tokens = [answer(200, b'{"token": "T1"}'), answer(200, b'{"token": "T2"}')]
    valid = ["T1"]
    registry, server, _ = build_registry(
        {f"HEAD {TAG}": lambda request: only_with(valid[0])(request), TOKEN_URL: tokens}
    )
    registry.fetch_digest(REFERENCE)
    registry.fetch_digest(REFERENCE)
    assert len([r for r in server.requests if r.url.host == "auth.example"]) == 1
    valid[0] = "T2"
    registry.fetch_digest(REFERENCE)
    assert len([r for r in server.requests if r.url.host == "auth.example"]) == 2


def test_a_challenge_without_scope_and_service_asks_for_the_repository(build_registry):
    url = "GET https://auth.example/token?scope=repository%3Aa%2Fb%3Apull"
    registry, _, _ = build_registry(
        {
            f"HEAD {TAG}": [
                answer(401, www_authenticate='Bearer realm="https://auth.example/token"'),
                SERVED,
            ],
            url: answer(200, b'{"token": "T"}'),
        }
    )
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)


def test_a_login_is_shown_to_the_token_service_only(build_registry):
    registry, server, _ = build_registry(
        {f"HEAD {TAG}": only_with("T1"), TOKEN_URL: answer(200, b'{"token": "T1"}')},
        credentials={"registry.example": ("me", "pw")}.get,
    )
    registry.fetch_digest(REFERENCE)
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == [None, "Basic " + base64.b64encode(b"me:pw").decode(), "Bearer T1"]


def test_bearer_is_preferred_where_both_are_offered(build_registry):
    both = httpx2.Response(401, headers=[("www-authenticate", 'Basic realm="r"'), ("www-authenticate", CHALLENGE)])
    registry, _, _ = build_registry({f"HEAD {TAG}": [both, SERVED], TOKEN_URL: answer(200, b'{"token": "T"}')})
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)


@pytest.mark.parametrize("challenge", ['Basic realm="r"', "Negotiate"])
def test_a_challenge_that_needs_a_login_we_do_not_have_ends_in_the_hint(build_registry, challenge):
    registry, server, _ = build_registry({f"HEAD {TAG}": answer(401, www_authenticate=challenge)})
    with pytest.raises(ImageError) as caught:
        registry.fetch_digest(REFERENCE)
    assert "docker login registry.example" in caught.value.hint
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "http://127.0.0.1:9/token",
        "https://user:pw@auth.example/token",
        "file:///etc/passwd",
        "//auth.example",
        "https://[::::",
        "",
    ],
)
def test_a_realm_that_is_not_https_is_not_followed(build_registry, realm):
    registry, server, _ = build_registry({f"HEAD {TAG}": answer(401, www_authenticate=f'Bearer realm="{realm}"')})
    with pytest.raises(ImageError, match="token service"):
        registry.fetch_digest(REFERENCE)
    assert len(server.requests) == 1


def test_a_local_registry_may_send_us_to_a_local_token_service(build_registry):
    local = parse_reference("127.0.0.1:5000/a/b:t")
    registry, _, _ = build_registry(
        {
            "HEAD http://127.0.0.1:5000/v2/a/b/manifests/t": [
                answer(401, www_authenticate='Bearer realm="http://localhost:5001/token"'),
                SERVED,
            ],
            "GET http://localhost:5001/token?scope=repository%3Aa%2Fb%3Apull": answer(200, b'{"token": "T"}'),
        }
    )
    assert registry.fetch_digest(local) == compute_digest(INDEX)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>"])
def test_a_token_service_that_gives_no_token_is_an_error(build_registry, body):
    registry, _, _ = build_registry({f"HEAD {TAG}": only_with("T"), TOKEN_URL: answer(200, body)})
    with pytest.raises(ImageError, match="no token"):
        registry.fetch_digest(REFERENCE)


def test_a_token_service_that_is_busy_is_asked_again(build_registry):
    registry, _, pauses = build_registry(
        {f"HEAD {TAG}": only_with("T"), TOKEN_URL: [answer(503), answer(200, b'{"token": "T"}')]}
    )
    assert registry.fetch_digest(REFERENCE) == compute_digest(INDEX)
    assert pauses == [0.5]


def test_a_token_service_that_refuses_a_wrong_password_is_not_asked_again(build_registry):
    registry, server, _ = build_registry(
        {f"HEAD {TAG}": only_with("T"), TOKEN_URL: answer(401)},
        credentials={"registry.example": ("me", "wrong")}.get,
    )
    with pytest.raises(ImageError, match="HTTP 401"):
        registry.fetch_digest(REFERENCE)
    assert len(server.requests) == 2


def test_no_secret_reaches_an_error(build_registry):
    registry, _, _ = build_registry(
        {f"HEAD {TAG}": answer(401, www_authenticate='Basic realm="r"')},
        credentials={"registry.example": ("me", "hunter2")}.get,
    )
    with pytest.raises(ImageError) as caught:
        registry.fetch_digest(REFERENCE)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {caught.value.detail}"


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        (
            CHALLENGE,
            "bearer",
            {"realm": "https://auth.example/token", "service": "reg", "scope": "repository:a/b:pull"},
        ),
        (
            'BEARER realm="https://x/t" , scope="repository:a:pull,push"',
            "bearer",
            {"realm": "https://x/t", "scope": "repository:a:pull,push"},
        ),
        ('Basic realm="a \\"quoted\\" realm"', "basic", {"realm": 'a "quoted" realm'}),
        ("Bearer realm=https://x/t,service=s", "bearer", {"realm": "https://x/t", "service": "s"}),
        ("Negotiate", "negotiate", {}),
        ("", "", {}),
    ],
)
def test_a_challenge_is_read(header, scheme, parameters):
    assert parse_challenge(header) == (scheme, parameters)


def test_the_login_of_docker_is_found(tmp_path):
    config = tmp_path / "config.json"
    secret = base64.b64encode(b"me:pw").decode()
    config.write_text(
        json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": secret}, "r.example": {"auth": secret}}})
    )
    assert read_docker_login("docker.io", str(config)) == ("me", "pw")
    assert read_docker_login("r.example", str(config)) == ("me", "pw")
    assert read_docker_login("other.example", str(config)) is None


def test_a_credential_helper_that_is_gone_counts_as_no_login(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {"r.example": "there-is-no-such-helper"}}))
    assert read_docker_login("r.example", str(config)) is None
