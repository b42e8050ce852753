import threading
import time

import pytest

from stack.images.source import Reachability, SourceChoice, choose_source, probe_registries

YES = Reachability(True, "it answers")
NO = Reachability(False, "its name cannot be resolved")


@pytest.mark.parametrize("asked", ["registry", "packages"])
@pytest.mark.parametrize("answer", [YES, NO])
def test_what_was_asked_for_is_never_replaced(asked, answer):
    choice = choose_source(asked, {"docker.io": answer})
    assert choice == SourceChoice(asked, f'`images.source = "{asked}"` asks for it')


def test_auto_takes_the_registries_when_all_answer():
    assert choose_source("auto", {"docker.io": YES}).reason == "docker.io answers"
    choice = choose_source("auto", {"docker.io": YES, "nvcr.io": YES})
    assert choice == SourceChoice("registry", "docker.io and nvcr.io answer")


def test_auto_takes_packages_when_one_does_not_answer():
    choice = choose_source("auto", {"docker.io": YES, "nvcr.io": NO})
    assert choice == SourceChoice("packages", "nvcr.io is not reachable: its name cannot be resolved")


def test_auto_without_anything_to_ask_stays_with_registries():
    assert choose_source("auto", {}) == SourceChoice("registry", "no registry has to be asked")


def test_registries_are_asked_side_by_side():
    both = threading.Barrier(2, timeout=30)

    def probe(host):
        both.wait()
        return Reachability(True, host)

    found = probe_registries(["a", "b", "a"], probe, timeout_seconds=60)
    assert found == {"a": Reachability(True, "a"), "b": Reachability(True, "b")}


def test_a_registry_that_says_nothing_counts_as_not_reachable():
    release = threading.Event()

    def probe(host):
        if host == "dead":
            release.wait(60)
        return YES

    try:
        found = probe_registries(["dead", "live"], probe, timeout_seconds=0.5)
    finally:
        release.set()
    assert found == {"dead": Reachability(False, "no answer within 0.5 s"), "live": YES}


def test_the_time_limit_holds_for_all_together():
    release = threading.Event()
    started = time.monotonic()
    ticks = iter([0.0, 0.0, 2.0, 2.0, 2.0, 2.0])

    def probe(host):
        release.wait(60)
        return YES

    try:
        found = probe_registries(["a", "b"], probe, timeout_seconds=1.0, clock=lambda: next(ticks))
    finally:
        release.set()
    assert not any(answer.reachable for answer in found.values())
    assert time.monotonic() - started < 60
