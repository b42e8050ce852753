"""Where the engine of a pinned commit comes from: answers of registries, of a mirror here, of labels."""

import http.server
import threading

import pytest

from stack.config.schema import ImagesConfig, StackConfig
from stack.errors import ImageError
from stack.images.reference import parse_reference
from stack.images.registry_errors import MissingImageError
from stack.images.wheels import CommitWheel
from stack.operations.images.pinned_engine import (
    NoCommitImageError,
    ask_references,
    find_commit_image,
    find_commit_wheel,
    read_wheel,
    select_image,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
FIRST = parse_reference(f"docker.io/vllm/vllm-openai-cpu:nightly-{COMMIT}")
SECOND = parse_reference(f"public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:{COMMIT}-x86_64")


def test_the_first_place_that_has_the_commit_is_taken_with_its_digest():
    wanted = select_image(COMMIT, "cpu", {FIRST: MissingImageError("no"), SECOND: OTHER})
    assert (wanted.reference, wanted.published) == (SECOND.with_digest(OTHER), None)
    assert select_image(COMMIT, "cpu", {FIRST: DIGEST, SECOND: OTHER}).reference == FIRST.with_digest(DIGEST)


def test_where_no_place_has_it_every_answer_is_told():
    answers = {FIRST: MissingImageError("no"), SECOND: ImageError("public.ecr.aws is not reachable: refused")}
    with pytest.raises(NoCommitImageError) as caught:
        select_image(COMMIT, "cpu", answers)
    assert caught.value.message == (
        f"no registry gives an engine image of commit {COMMIT} for cpu:\n"
        f"- {FIRST}: it has no such tag\n"
        f"- {SECOND}: public.ecr.aws is not reachable: refused"
    )
    assert "`engine.image`" in caught.value.hint and "--images packages" in caught.value.hint
    assert "two weeks" in caught.value.hint


def test_where_no_place_can_be_asked_the_hint_is_about_the_network():
    with pytest.raises(NoCommitImageError) as caught:
        select_image(COMMIT, "cpu", {FIRST: ImageError("not reachable"), SECOND: ImageError("not reachable")})
    assert "`images.mirror`" in caught.value.hint and "two weeks" not in caught.value.hint


def test_answers_keep_the_order_of_the_questions_and_silence_is_an_answer():
    silent = threading.Event()

    def ask(reference):
        if reference == FIRST:
            silent.wait(30)
        return DIGEST

    try:
        answers = ask_references([FIRST, SECOND], ask, timeout_seconds=0.5)
    finally:
        silent.set()
    assert list(answers) == [FIRST, SECOND]
    assert str(answers[FIRST]) == "no answer within 0.5 s" and answers[SECOND] == DIGEST


@pytest.fixture
def mirror():
    """A mirror on this machine that has one commit's CPU image, and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            known = self.path == f"/v2/hub/vllm/vllm-openai-cpu/manifests/nightly-{COMMIT}"
            self.send_response(200 if known else 404)
            if known:
                self.send_header("Docker-Content-Digest", DIGEST)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_mirror_is_asked_in_place_of_upstream(mirror):
    host, asked = mirror
    config = ImagesConfig(mirror={"docker.io": f"{host}/hub", "public.ecr.aws": host}, retries=0)
    assert find_commit_image(COMMIT, "cpu", StackConfig(images=config)).reference == FIRST.with_digest(DIGEST)
    assert sorted(asked) == [
        f"/v2/hub/vllm/vllm-openai-cpu/manifests/nightly-{COMMIT}",
        f"/v2/q9t5s3a7/vllm-cpu-release-repo/manifests/{COMMIT}-x86_64",
    ]
    with pytest.raises(NoCommitImageError, match="it has no such tag"):
        find_commit_image("f" * 40, "cuda", StackConfig(images=config))


def describe_image(**labels):
    return {"Config": {"Labels": labels or None}}


def test_an_image_tells_the_wheel_that_it_was_built_from():
    labels = {
        "org.opencontainers.image.revision": COMMIT,
        "org.opencontainers.image.version": "0.32.1.dev7+g012345678.cpu",
        "dev.stack.wheel": "https://wheels.example/w.whl",
    }
    wheel = CommitWheel("https://wheels.example/w.whl", "0.32.1.dev7+g012345678.cpu")
    assert read_wheel(describe_image(**labels), COMMIT) == wheel
    assert read_wheel(describe_image(**labels), "f" * 40) is None
    assert read_wheel(describe_image(**labels | {"dev.stack.wheel": ""}), COMMIT) is None
    assert read_wheel(describe_image(), COMMIT) is None and read_wheel(None, COMMIT) is None
    # Nobody is asked where the image that is here tells.
    assert find_commit_wheel(COMMIT, "cpu", StackConfig(), describe_image(**labels)) == wheel
