import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.errors import ImageError
from stack.images.reference import (
    ImageReference,
    apply_mirror,
    is_loopback_host,
    parse_reference,
)

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.30", "docker.io/library/nginx:1.30"),
        ("prom/prometheus:v3.15.0", "docker.io/prom/prometheus:v3.15.0"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/vllm/vllm-openai:v1", "docker.io/vllm/vllm-openai:v1"),
        ("localhost/stack/engine:cpu-1", "localhost/stack/engine:cpu-1"),
        ("localhost:5000/x", "localhost:5000/x"),
        ("127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t"),
        ("[::1]:5000/a:t", "[::1]:5000/a:t"),
        ("Registry.Example/a", "registry.example/a"),
        (f"quay.io/x/y:t@{DIGEST}", f"quay.io/x/y:t@{DIGEST}"),
        (f"quay.io/x/y@{DIGEST}", f"quay.io/x/y@{DIGEST}"),
        ("  nginx:1  ", "docker.io/library/nginx:1"),
    ],
)
def test_a_reference_is_read_as_registries_read_it(text, full):
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a name"),
        ("a/UPPER", "is not a name"),
        ("a//b", "is not a name"),
        ("a/b/", "is not a name"),
        ("/a", "is not a name"),
        ("a:-t", "is not a tag"),
        ("a:", "is not a tag"),
        ("a b", "is not a name"),
        ("a;rm -rf", "is not a name"),
        ("a@sha256:12", "is not a digest"),
        ("a@", "is not a digest"),
        (f"a@{DIGEST.upper()}", "is not a digest"),
        ("a@md5:" + "0" * 32, "is not a digest"),
        (DIGEST, "image ID or a bare digest"),
        ("https://docker.io/a", "is a URL"),
        ("a" * 250, "longer than 255"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_reason(text, said):
    with pytest.raises(ImageError, match=said):
        parse_reference(text)


def test_a_tag_and_a_digest_can_be_put_on_and_taken_off():
    plain = parse_reference("a/b:t")
    assert str(plain.with_digest(DIGEST)) == f"docker.io/a/b:t@{DIGEST}"
    assert plain.with_digest(DIGEST).with_digest(None) == plain
    assert str(plain.with_tag(None)) == "docker.io/a/b"
    with pytest.raises(ImageError, match="not a digest"):
        plain.with_digest("sha256:00")


@pytest.mark.parametrize(
    ("mirror", "full"),
    [
        ({}, "docker.io/prom/prometheus:v3"),
        ({"docker.io": "mirror.example"}, "mirror.example/prom/prometheus:v3"),
        ({"index.docker.io": "mirror.example:5000/hub/"}, "mirror.example:5000/hub/prom/prometheus:v3"),
        ({"quay.io": "mirror.example"}, "docker.io/prom/prometheus:v3"),
        ({"docker.io": "127.0.0.1:5000/a/b"}, "127.0.0.1:5000/a/b/prom/prometheus:v3"),
    ],
)
def test_a_mirror_stands_in_for_its_registry_only(mirror, full):
    assert str(apply_mirror(parse_reference("prom/prometheus:v3"), mirror)) == full


def test_a_mirror_keeps_the_digest():
    reference = parse_reference(f"nginx:1@{DIGEST}")
    assert str(apply_mirror(reference, {"docker.io": "m.example"})) == f"m.example/library/nginx:1@{DIGEST}"


@pytest.mark.parametrize("target", ["https://mirror.example", "", "mirror.example/UP", "a b"])
def test_a_mirror_that_is_no_host_is_refused(target):
    with pytest.raises(ImageError, match="is no mirror of `docker.io`"):
        apply_mirror(parse_reference("nginx"), {"docker.io": target})


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1:1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("128.0.0.1", False),
        ("127.0.0.1.example", False),
        ("localhost.example", False),
        ("10.0.0.1:5000", False),
        ("[2001:db8::1]:5000", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(host, is_loopback):
    assert is_loopback_host(host) is is_loopback


_PART = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)


@given(
    host=st.sampled_from(["docker.io", "quay.io", "localhost:5000", "127.0.0.1:80", "registry.example"]),
    parts=st.lists(_PART, min_size=2, max_size=4),
    tag=st.none()
    | st.text(string.ascii_letters + string.digits + "._-", min_size=1).filter(lambda t: t[0] not in ".-"),
    digest=st.none() | st.just(DIGEST),
)
def test_a_reference_survives_being_written_and_read(host, parts, tag, digest):
    reference = ImageReference(host, "/".join(parts), tag[:128] if tag else None, digest)
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_gives_a_reference_or_an_explained_error(text):
    try:
        reference = parse_reference(text)
    except ImageError as err:
        assert err.message
    else:
        assert parse_reference(str(reference)) == reference
