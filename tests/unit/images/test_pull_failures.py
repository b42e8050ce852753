import pytest

from stack.errors import ImageError
from stack.images.pull_failures import BrokenPullError, build_pull_error
from stack.images.reference import parse_reference

REFERENCE = parse_reference("prom/prometheus:v3.15.0")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        # Docker Engine 20.10, as answered to /images/create.
        ("write /var/lib/docker/tmp/GetImageBlob123: no space left on device", "docker system df"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "architecture"),
        ("manifest for 127.0.0.1:5000/x:t not found: manifest unknown: manifest unknown", "nightly tags"),
        (
            "pull access denied for x, repository does not exist or may require 'docker login': denied: "
            "requested access to the resource is denied",
            "docker login",
        ),
        ("toomanyrequests: You have reached your pull rate limit.", "images.mirror"),
        (
            'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.0.0.1:53: '
            "no such host",
            "name servers",
        ),
        ('Get "https://r.example/v2/": x509: certificate signed by unknown authority', "certs.d"),
        (
            'Get "https://10.0.0.9:5000/v2/": http: server gave HTTP response to HTTPS client',
            "insecure-registries",
        ),
    ],
)
def test_a_failure_that_stays_is_final_and_says_what_to_do(text, hint):
    error = build_pull_error(text, REFERENCE)
    assert isinstance(error, ImageError)
    assert text in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "unexpected EOF",
        "read tcp 10.0.0.1:4->10.0.0.2:443: read: connection reset by peer",
        "net/http: TLS handshake timeout",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_a_failure_that_may_pass_is_worth_another_attempt(text):
    assert isinstance(build_pull_error(text, REFERENCE), BrokenPullError)
