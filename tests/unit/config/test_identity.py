import pytest

from stack.config.identity import parse_commit, parse_image, parse_model_id, parse_version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _refusal(parse, text):
    with pytest.raises(ValueError) as caught:
        parse(text)
    return str(caught.value)


def test_a_whole_commit_is_taken():
    assert parse_commit(COMMIT) == COMMIT


def test_an_abbreviated_commit_is_refused_with_the_reason():
    assert _refusal(parse_commit, "0123456") == (
        "`0123456` is an abbreviation; write all 40 hex digits, because images are tagged with the whole "
        "commit and a short one can come to mean another (`git rev-parse` expands it)"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (COMMIT.upper(), f"must be lower-case and without spaces: `{COMMIT}`"),
        (f" {COMMIT}", "without spaces"),
        ("v0.32.0", "is a release, not a commit; write it as `engine.version`"),
        ("main", "no branch and no tag"),
        (COMMIT + "0", "is no commit"),
        ("", "is no commit"),
    ],
)
def test_what_is_no_commit_is_refused(text, part):
    assert part in _refusal(parse_commit, text)


@pytest.mark.parametrize("text", ["0.32.0", "v0.32.0", " 0.32.0 "])
def test_a_release_loses_its_v(text):
    assert parse_version(text) == "0.32.0"


@pytest.mark.parametrize("text", ["0.32.0rc1", "0.32.0.post1", "0.29.1rc1.dev347+gdee37d891"])
def test_releases_of_all_kinds_are_taken(text):
    assert parse_version(text) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (COMMIT, "looks like a commit; write it as `engine.commit`"),
        ("latest", "moves, and nothing unpinned is run"),
        ("0.32.x", "is no vLLM release"),
    ],
)
def test_what_is_no_release_is_refused(text, part):
    assert part in _refusal(parse_version, text)


@pytest.mark.parametrize(
    "text",
    [
        "vllm/vllm-openai:v0.32.0",
        "localhost:5000/team/vllm:mine",
        "engine:dev",
        "registry.example/vllm@sha256:" + "a" * 64,
        "registry.example:5000/vllm:v1@sha256:" + "a" * 64,
        "sha256:" + "a" * 64,
    ],
)
def test_a_pinned_image_reference_is_taken(text):
    assert parse_image(text) == text


@pytest.mark.parametrize("text", ["vllm/vllm-openai", "vllm/vllm-openai:latest", "localhost:5000/vllm"])
def test_an_image_that_would_follow_latest_is_refused(text):
    assert "nothing unpinned is run" in _refusal(parse_image, text)


@pytest.mark.parametrize("text", ["", "a b:1", "x:y:z", "https://host/x:1", "vllm@sha256:abc"])
def test_what_is_no_image_reference_is_refused(text):
    assert "is no image reference" in _refusal(parse_image, text)


@pytest.mark.parametrize("text", ["demo", "/srv/model", "./model", "../model", "Qwen/Qwen3-0.6B", "a/b_c.d"])
def test_a_model_id_is_taken(text):
    assert parse_model_id(text) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("gpt2", "`gpt2` is no model: write a hub id (`org/name`)"),
        ("https://huggingface.co/Qwen/Qwen3-0.6B/tree/main", "write the hub id `Qwen/Qwen3-0.6B`"),
        ("Qwen/Qwen3@abc", "write `Qwen/Qwen3`, and `abc` as `model.revision`"),
        ("a/b/c", "is no model"),
        ("a/b..c", "is no model"),
        ("/a\nb", "of one line"),
        ("", "is no model"),
    ],
)
def test_what_is_no_model_is_refused(text, part):
    assert part in _refusal(parse_model_id, text)


def test_a_url_with_a_password_is_not_repeated():
    assert "hunter2" not in _refusal(parse_model_id, "https://me:hunter2@hub.example/org/name")
