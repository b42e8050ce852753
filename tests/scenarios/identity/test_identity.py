"""A pinned commit is the commit that runs, or nothing runs."""

from __future__ import annotations

from collections.abc import Callable

from tests.scenarios.harness import Stack
from tests.scenarios.projects import render_config

WANTED = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"


def test_an_image_of_another_commit_is_refused_before_anything_starts(
    make_stack: Callable[..., Stack], build_fake_engine: Callable[[str], str]
) -> None:
    stack = make_stack(
        "other", render_config(build_fake_engine(OTHER), more=f'commit = "{WANTED}"\naccept = "claimed"')
    )
    done = stack.run("up").demand(9)
    assert f"commit {WANTED} was asked for, but the image is commit {OTHER}" in done.err
    assert stack.containers() == {}


def test_an_image_that_only_claims_the_commit_is_refused_unless_claims_are_accepted(
    make_stack: Callable[..., Stack], build_fake_engine: Callable[[str], str]
) -> None:
    image = build_fake_engine(WANTED)
    stack = make_stack("claim", render_config(image, more=f'commit = "{WANTED}"'))
    done = stack.run("up", "--no-smoke").demand(9)
    assert "not verified" in done.err and "--accept claimed" in done.err
    assert stack.containers() == {}
    stack.run("up", "--no-smoke", "--accept", "claimed").demand()
    engine = stack.status()["engine"]
    assert (engine["commit"], engine["commit_level"]) == (WANTED, "claimed")
