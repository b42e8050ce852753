"""Sets of packages: what makes two the same, how they differ, and how pip is asked for exactly one."""

import pytest

from stack.images.packages import Package, PackageSet, compare_packages, find_differences, render_requirements

A, B = "a" * 64, "b" * 64
NUMPY, TORCH = Package("numpy", "2.4.6", A), Package("torch", "2.13.0+cpu", B)


def make_set(*packages, machine="x86_64"):
    return PackageSet(machine, "3.11", packages)


def test_two_sets_are_the_same_by_names_and_versions_in_any_order():
    assert make_set(NUMPY, TORCH).hash() == make_set(TORCH, Package("numpy", "2.4.6", B)).hash()
    assert make_set(NUMPY).hash() != make_set(NUMPY, TORCH).hash() != make_set(Package("numpy", "2.4.7", A)).hash()


def test_every_difference_is_named():
    wanted = [NUMPY, TORCH, Package("gone", "1"), Package("same", "1")]
    found = [Package("numpy", "2.5.0", A), Package("torch", "2.13.0+cpu", A), Package("new", "3"), Package("same", "1")]
    assert compare_packages(wanted, found) == [
        "gone 1 is missing",
        "new 3 is there too",
        "numpy is 2.5.0 instead of 2.4.6",
        "torch 2.13.0+cpu came from another file",
    ]


def test_a_file_without_a_hash_may_be_any():
    assert compare_packages([NUMPY], [Package("numpy", "2.4.6")]) == []


def test_pip_is_asked_for_exact_files_on_the_same_architecture_and_for_versions_on_another():
    locked = make_set(TORCH, NUMPY, Package("pure", "1.0"))
    lines = render_requirements(locked, "x86_64").splitlines()
    assert lines == [f"numpy==2.4.6 --hash=sha256:{A}", "pure==1.0", f"torch==2.13.0+cpu --hash=sha256:{B}"]
    assert render_requirements(locked, "aarch64").splitlines() == ["numpy==2.4.6", "pure==1.0", "torch==2.13.0+cpu"]


@pytest.mark.parametrize("version", ["1.0 --index-url=http://evil", "1.0\n--pre", "", "-r/etc/passwd"])
def test_a_version_that_pip_would_read_as_something_else_is_refused(version):
    with pytest.raises(ValueError, match="no package with a version"):
        render_requirements(make_set(Package("numpy", version)), "x86_64")


def test_files_of_another_architecture_are_others_in_any_case():
    other = make_set(Package("numpy", "2.4.6", B), machine="aarch64")
    assert find_differences(make_set(NUMPY), other) == []
    assert find_differences(make_set(NUMPY), make_set(*other.packages)) == ["numpy 2.4.6 came from another file"]
