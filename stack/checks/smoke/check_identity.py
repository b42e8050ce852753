"""The engine is the one that the lock names: commit, level, image and version."""

from __future__ import annotations

import re

from stack.checks.smoke.check import Check, Outcome, SmokeContext
from stack.checks.smoke.target import IdentityFacts

_LEVELS = ("unknown", "claimed", "verified")
# setuptools-scm: `0.29.1rc1.dev347+gdee37d891`, perhaps with `.cu129` behind. Releases carry no commit.
_ABBREVIATED = re.compile(r"\+g([0-9a-f]{7,40})")
_RELEASE = re.compile(r"^\d+(?:\.\d+)*")


def run(context: SmokeContext) -> Outcome:
    """Compare what the lock says with what was found, and with what the engine says of itself."""
    identity = context.target.identity
    version = context.engine.fetch_version()
    wrong = [*_compare_facts(identity), *_compare_version(identity, version)]
    data = {"commit": identity.found_commit, "level": identity.found_level, "version": version}
    data |= {"digest": identity.found_digest, "image_id": identity.found_image_id}
    if wrong:
        hint = "`stack up` puts the locked image in place; `stack status` shows what runs now"
        return Outcome("fail", "; ".join(wrong), hint, data)
    commit = f"commit {identity.found_commit[:12]}" if identity.found_commit else "commit unknown"
    return Outcome("pass", f"{commit} ({identity.found_level}), version {version}", data=data)


def _compare_facts(identity: IdentityFacts) -> list[str]:
    wrong = []
    pairs = (
        ("commit", identity.expected_commit, identity.found_commit),
        ("image digest", identity.expected_digest, identity.found_digest),
        ("image ID", identity.expected_image_id, identity.found_image_id),
    )
    for what, expected, found in pairs:
        if expected and found != expected:
            wrong.append(f"{what} is {found or 'unknown'}, the lock says {expected}")
    if identity.expected_commit and _LEVELS.index(identity.found_level) < _LEVELS.index(identity.accepted_level):
        wrong.append(f"the commit is only {identity.found_level}, {identity.accepted_level} is asked for")
    return wrong


def _compare_version(identity: IdentityFacts, version: str) -> list[str]:
    told = _ABBREVIATED.search(version)
    expected = identity.expected_commit
    if told and expected and not expected.startswith(told[1]):
        return [f"the engine says it is commit {told[1]}, the lock says {expected}"]
    if identity.expected_version and _release_of(version) != _release_of(identity.expected_version):
        return [f"the engine says it is version {version}, expected {identity.expected_version}"]
    return []


def _release_of(version: str) -> str:
    found = _RELEASE.match(version)
    return found[0] if found else version


CHECK = Check("identity", run, order=20, lane="side", model="any")
