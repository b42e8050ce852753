"""What a word names that `stack pin` is given."""

from pathlib import Path

import pytest

from stack.errors import ImageError
from stack.images.sources import Variant, load_sources
from stack.operations.pin.target import read_target

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
CLONE = Path("/clone")


def read(text, repository=None, answers=()):
    said = iter(answers)
    return read_target(text, load_sources(), Variant("cuda"), repository, lambda folder, words: next(said))


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        (COMMIT, "commit", {"commit": COMMIT}),
        (COMMIT.upper(), "commit", {"commit": COMMIT}),
        ("0.31.0", "version", {"version": "0.31.0"}),
        ("v0.31.0", "version", {"version": "0.31.0"}),
        ("0.32.0rc1", "version", {"version": "0.32.0rc1"}),
        (DIGEST, "digest", {"digest": DIGEST}),
        ("nightly", "moving", {"reference": "docker.io/vllm/vllm-openai:nightly"}),
        ("latest", "moving", {"reference": "docker.io/vllm/vllm-openai:latest"}),
        ("v0.31.0-x86_64", "reference", {"reference": "docker.io/vllm/vllm-openai:v0.31.0-x86_64"}),
        (f"nightly-{COMMIT}", "reference", {"reference": f"docker.io/vllm/vllm-openai:nightly-{COMMIT}"}),
        ("a.example/b:c", "reference", {"reference": "a.example/b:c"}),
        (f"a.example/b@{DIGEST}", "reference", {"reference": f"a.example/b@{DIGEST}"}),
    ],
)
def test_a_word_is_one_thing(text, kind, what):
    target = read(text)
    assert target.kind == kind
    assert {name: str(getattr(target, name)) for name in what} == what


@pytest.mark.parametrize("text", ["0123456", "ABCDEF1", COMMIT[:39]])
def test_an_abbreviated_commit_is_refused_with_the_reason(text):
    with pytest.raises(ImageError, match="registries know whole commits only") as caught:
        read(text)
    assert "--repo" in caught.value.hint


def test_a_clone_expands_it_and_tells_the_release_it_is():
    target = read("0123456", CLONE, [f"--end-of-options\n{COMMIT}", "v0.31.0rc2\nv0.31.0\nother"])
    assert (target.kind, target.commit, target.version) == ("commit", COMMIT, "0.31.0")


def test_a_clone_tells_the_commit_of_a_release():
    assert read("0.31.0", CLONE, [COMMIT]).commit == COMMIT


@pytest.mark.parametrize("text", ["a b", "a/b", "-x", ""])
def test_what_names_nothing_is_refused(text):
    with pytest.raises(ImageError):
        read(text)


def test_a_clone_that_answers_nonsense_is_not_believed():
    with pytest.raises(ImageError, match="which is no commit"):
        read("0123456", CLONE, ["main"])
