import pytest

from stack.images.identity import (
    Identity,
    Origin,
    build_identity,
    check_identity,
    is_upstream,
    match_version,
)
from stack.images.manifests import ImageConfig
from stack.images.reference import parse_reference
from stack.images.references import PublishedImage

COMMIT, OTHER = "dee37d891" + "a" * 31, "b" * 40
DIGEST, FOREIGN = "sha256:" + "d" * 64, "sha256:" + "e" * 64
UPSTREAM = parse_reference(f"vllm/vllm-openai:v1.2.3@{DIGEST}")
MIRROR = parse_reference(f"mirror.example/vllm/vllm-openai:v1.2.3@{DIGEST}")
RELEASE = PublishedImage("docker.io/vllm/vllm-openai", "v1.2.3", "1.2.3", DIGEST, COMMIT)
UNPINNED = PublishedImage("docker.io/vllm/vllm-openai-cpu", "v1.2.3", "1.2.3", None, COMMIT)
LABELLED = ImageConfig(
    {
        "org.opencontainers.image.revision": COMMIT,
        "org.opencontainers.image.source": "https://github.com/vllm-project/vllm",
        "org.opencontainers.image.version": "vllm/vllm-openai:v1.2.3",
    },
    {"VLLM_BUILD_COMMIT": COMMIT},
)


def from_registry(reference=UPSTREAM, digest=DIGEST, upstream_digest=None):
    return Origin("registry", reference, digest, upstream_digest)


def test_upstreams_label_behind_a_digest_that_upstream_served_is_verified():
    identity = build_identity(LABELLED, from_registry())
    assert (identity.commit, identity.level, identity.version) == (COMMIT, "verified", "1.2.3")
    assert identity.rests_on == (f"label org.opencontainers.image.revision; docker.io/vllm/vllm-openai served {DIGEST}")


@pytest.mark.parametrize(
    "name",
    ["vllm/vllm-openai:x", "vllm/vllm-openai-cpu:x", "public.ecr.aws/q9t5s3a7/vllm-release-repo:x"],
)
def test_upstreams_own_repositories_are_known(name):
    assert is_upstream(parse_reference(name))


@pytest.mark.parametrize(
    "name",
    [
        "vllm",
        "vllmx/vllm-openai:x",
        "ghcr.io/vllm/vllm-openai:x",
        "mirror.example/docker.io/vllm/vllm-openai:x",
        "public.ecr.aws/q9t5s3a70/x:y",
        "someone/vllm:x",
    ],
)
def test_what_only_looks_like_upstream_is_not(name):
    assert not is_upstream(parse_reference(name))


def test_a_mirror_counts_when_the_digest_is_the_recorded_one():
    identity = build_identity(LABELLED, from_registry(MIRROR), [RELEASE])
    assert identity.level == "verified"
    assert "is recorded for upstream's v1.2.3" in identity.rests_on


def test_a_mirror_counts_when_the_digest_is_the_one_locked_from_upstream():
    identity = build_identity(LABELLED, from_registry(MIRROR, upstream_digest=DIGEST))
    assert identity.level == "verified"
    assert "when it was locked" in identity.rests_on


def test_an_image_of_unknown_descent_is_only_a_claim():
    identity = build_identity(LABELLED, Origin("registry"))
    assert identity.level == "claimed"
    assert "nothing tells which registry it came from" in identity.rests_on


def test_a_release_without_a_commit_tells_none():
    release = PublishedImage("docker.io/vllm/vllm-openai", "v1.2.3", "1.2.3", DIGEST)
    assert build_identity(ImageConfig(), from_registry(), [release]).level == "unknown"


@pytest.mark.parametrize("upstream_digest", [None, FOREIGN])
def test_a_mirror_alone_is_only_a_claim(upstream_digest):
    identity = build_identity(LABELLED, from_registry(MIRROR, upstream_digest=upstream_digest))
    assert (identity.commit, identity.level) == (COMMIT, "claimed")
    assert "mirror.example/vllm/vllm-openai is not upstream's" in identity.rests_on


def test_a_name_of_upstream_without_a_digest_is_only_a_claim():
    assert build_identity(LABELLED, from_registry(digest=None)).level == "claimed"


@pytest.mark.parametrize(
    ("origin", "said"), [(Origin("built"), "built on this machine"), (Origin("loaded"), "from an archive")]
)
def test_what_was_built_or_loaded_here_is_only_a_claim(origin, said):
    identity = build_identity(LABELLED, origin)
    assert (identity.commit, identity.level) == (COMMIT, "claimed")
    assert said in identity.rests_on


def test_an_image_from_an_archive_is_not_verified_by_a_digest_somebody_wrote_beside_it():
    origin = Origin("loaded", UPSTREAM, DIGEST, DIGEST)
    assert build_identity(LABELLED, origin, [RELEASE]).level == "claimed"


def test_an_image_whose_id_was_proved_to_be_of_a_digest_is_worth_what_the_digest_is():
    assert build_identity(LABELLED, Origin("proved", None, DIGEST, DIGEST)).level == "verified"
    assert build_identity(LABELLED, Origin("proved", None, DIGEST), [RELEASE]).level == "verified"
    assert build_identity(ImageConfig(), Origin("proved", None, DIGEST), [RELEASE]).commit == RELEASE.commit
    unknown = build_identity(LABELLED, Origin("proved", None, DIGEST))
    assert unknown.level == "claimed" and "not known to be upstream's" in unknown.rests_on
    tag = Origin("proved", None, DIGEST, DIGEST, f"nightly-{COMMIT}")
    assert (build_identity(ImageConfig(), tag).commit, build_identity(ImageConfig(), tag).level) == (COMMIT, "verified")
    assert build_identity(ImageConfig(), Origin("proved", None, DIGEST)).level == "unknown"


def test_a_tag_that_a_bundle_tells_is_a_claim_whatever_the_digest_is_worth():
    for upstream in (None, DIGEST):
        told = Origin("proved", None, DIGEST, upstream, claimed_tag=f"nightly-{COMMIT}")
        found = build_identity(ImageConfig(), told)
        assert (found.commit, found.level) == (COMMIT, "claimed")
    assert build_identity(ImageConfig(), Origin("proved", None, DIGEST, claimed_tag="v1")).level == "unknown"


@pytest.mark.parametrize(
    "config",
    [
        ImageConfig({"ai.vllm.build.commit": COMMIT}),
        ImageConfig({}, {"VLLM_BUILD_COMMIT": COMMIT}),
        ImageConfig({"org.opencontainers.image.revision": "unknown", "ai.vllm.build.commit": COMMIT}),
    ],
)
def test_each_place_where_upstream_writes_the_commit_is_read(config):
    assert build_identity(config, from_registry()).commit == COMMIT


@pytest.mark.parametrize("word", ["unknown", "local/vllm-openai:dev", "", "main", COMMIT[:12], COMMIT.upper()])
def test_a_label_that_is_no_commit_counts_as_none(word):
    config = ImageConfig({"org.opencontainers.image.revision": word}, {"VLLM_BUILD_COMMIT": word})
    identity = build_identity(config, from_registry())
    assert (identity.commit, identity.level) == (None, "unknown")


def test_an_image_that_contradicts_itself_is_not_believed():
    config = ImageConfig({"org.opencontainers.image.revision": COMMIT}, {"VLLM_BUILD_COMMIT": OTHER})
    identity = build_identity(config, from_registry())
    assert (identity.commit, identity.level) == (None, "unknown")
    assert COMMIT in identity.rests_on
    assert OTHER in identity.rests_on


def test_the_revision_of_another_repository_is_not_taken_for_vllms():
    config = ImageConfig(
        {
            "org.opencontainers.image.revision": OTHER,
            "org.opencontainers.image.source": "https://github.com/someone/their-image",
            "ai.vllm.build.commit": COMMIT,
        }
    )
    identity = build_identity(config, from_registry(parse_reference(f"someone/image@{FOREIGN}"), FOREIGN))
    assert (identity.commit, identity.level) == (COMMIT, "claimed")


def test_a_recorded_digest_tells_the_commit_of_an_image_without_labels():
    identity = build_identity(ImageConfig(), from_registry(MIRROR), [RELEASE])
    assert (identity.commit, identity.level, identity.version) == (COMMIT, "verified", "1.2.3")


def test_a_release_tag_without_a_recorded_digest_is_only_a_claim():
    cpu = parse_reference(f"vllm/vllm-openai-cpu:v1.2.3@{FOREIGN}")
    identity = build_identity(ImageConfig(), from_registry(cpu, FOREIGN), [RELEASE, UNPINNED])
    assert (identity.commit, identity.level) == (COMMIT, "claimed")
    assert "the tag v1.2.3 alone" in identity.rests_on


def test_the_release_map_says_nothing_of_what_was_built_here():
    identity = build_identity(ImageConfig(), Origin("built", UPSTREAM, DIGEST), [RELEASE])
    assert (identity.commit, identity.level) == (None, "unknown")


def test_who_built_it_and_the_bare_version_of_our_own_images_are_read():
    config = ImageConfig(
        {
            "dev.stack.built-by": "stack (packages)",
            "org.opencontainers.image.vendor": "somebody",
            "org.opencontainers.image.version": "0.32.0+cpu",
            "org.opencontainers.image.revision": "",
        }
    )
    identity = build_identity(config, Origin("built"))
    assert (identity.version, identity.built_by, identity.level) == (
        "0.32.0+cpu",
        "stack (packages)",
        "unknown",
    )


@pytest.mark.parametrize(
    ("label", "version"),
    [
        ("vllm/vllm-openai:v0.31.0", "0.31.0"),
        ("0.29.1rc1.dev347+gdee37d891", "0.29.1rc1.dev347+gdee37d891"),
        ("local/vllm-openai:dev", None),
        ("local/vllm-openai:v1.2.3", None),
        ("v" + COMMIT, None),
        ("24.04", None),
    ],
)
def test_a_version_is_taken_only_where_it_is_one(label, version):
    config = ImageConfig({"org.opencontainers.image.version": label})
    assert build_identity(config, Origin("built")).version == version


# --- the comparison with what was asked for


def build(commit=COMMIT, level="verified", version=None):
    return Identity(commit, level, version, "where it rests")


@pytest.mark.parametrize("accept", ["verified", "claimed"])
@pytest.mark.parametrize("identity", [build(), build(OTHER), build(None, "unknown"), build(level="claimed")])
def test_without_a_wanted_commit_everything_will_do(identity, accept):
    assert check_identity(identity, None, accept) is None


def test_the_wanted_commit_verified_will_do():
    assert check_identity(build(), COMMIT, "verified") is None


def test_another_commit_is_refused_even_when_claims_are_accepted():
    error = check_identity(build(OTHER), COMMIT, "claimed")
    assert error.message == (f"commit {COMMIT} was asked for, but the image is commit {OTHER} (where it rests)")
    assert "engine.commit" in error.hint
    assert error.exit_code == 9


def test_a_claim_is_refused_unless_claims_are_accepted():
    error = check_identity(build(level="claimed"), COMMIT, "verified")
    assert error.message == (
        f"commit {COMMIT} was asked for; the image claims to be it, but that is not verified (where it rests)"
    )
    assert "--accept claimed" in error.hint
    assert 'engine.accept = "claimed"' in error.hint
    assert check_identity(build(level="claimed"), COMMIT, "claimed") is None


def test_an_image_that_says_nothing_is_refused():
    error = check_identity(build(None, "unknown", "1.2.3"), COMMIT, "claimed")
    assert "does not say which commit it is" in error.message


def test_a_development_version_is_compared_where_no_label_is():
    agrees = build(None, "unknown", "0.29.1rc1.dev347+gdee37d891")
    assert check_identity(agrees, COMMIT, "claimed") is None
    assert "version 0.29.1rc1.dev347+gdee37d891 agrees" in check_identity(agrees, COMMIT, "verified").message
    differs = check_identity(agrees, OTHER, "claimed")
    assert "the image is version 0.29.1rc1.dev347+gdee37d891" in differs.message


@pytest.mark.parametrize(
    ("reported", "matches"),
    [
        ("0.29.1rc1.dev347+gdee37d891", True),
        ("0.29.1rc1.dev347+gdee37d891.cu129", True),
        ("0.29.1rc1.dev347+cpu.gdee37d891", True),
        (f"0.29.1+g{COMMIT}", True),
        ("0.29.1rc1.dev347+gdee37d892", False),
        ("0.32.0", None),
        ("0.32.0+cpu", None),
        ("0.32.0+g12", None),
        ("0.32.0+gdee37d891x", None),
        ("", None),
        (None, None),
    ],
)
def test_a_version_is_compared_by_its_abbreviated_hash(reported, matches):
    assert match_version(reported, COMMIT) is matches


TAGGED = parse_reference(f"vllm/vllm-openai-cpu:nightly-{COMMIT}")
TAGGED_MIRROR = parse_reference(f"mirror.example/vllm/vllm-openai-cpu:nightly-{COMMIT}")


@pytest.mark.parametrize("tag", [COMMIT, f"nightly-{COMMIT}", f"cu129-nightly-{COMMIT}", f"{COMMIT}-x86_64"])
def test_an_image_without_a_label_is_of_the_commit_in_the_tag_that_upstream_served_it_for(tag):
    identity = build_identity(ImageConfig(), from_registry(UPSTREAM.with_tag(tag)))
    assert (identity.commit, identity.level) == (COMMIT, "verified")
    assert identity.rests_on == f"the tag {tag}; docker.io/vllm/vllm-openai served {DIGEST}"


def test_the_tag_of_a_mirror_is_a_claim_until_upstream_has_served_its_digest_for_it():
    identity = build_identity(ImageConfig(), from_registry(TAGGED_MIRROR))
    assert (identity.commit, identity.level) == (COMMIT, "claimed")
    assert f"the tag nightly-{COMMIT} alone" in identity.rests_on
    # A recorded digest of a release does not vouch for whatever tag a mirror gives it.
    origin = Origin("registry", TAGGED_MIRROR, DIGEST)
    assert (
        build_identity(ImageConfig(), origin, [PublishedImage("docker.io/a/b", "v1", "1", DIGEST)]).level == "claimed"
    )
    locked = Origin("registry", MIRROR, DIGEST, DIGEST, f"nightly-{COMMIT}")
    assert build_identity(ImageConfig(), locked).level == "verified"
    other = Origin("registry", MIRROR, DIGEST, FOREIGN, f"nightly-{COMMIT}")
    assert build_identity(ImageConfig(), other).commit is None


def test_a_label_outweighs_the_tag_it_was_served_for():
    identity = build_identity(LABELLED, from_registry(TAGGED.with_tag(f"nightly-{OTHER}")))
    assert identity.commit == COMMIT
    assert f"the image is commit {COMMIT}" in check_identity(identity, OTHER, "claimed").message
