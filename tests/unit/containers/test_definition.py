"""How a container is made, from a recorded document and from the rendered override, and in what the two differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stack.containers.definition import (
    Definition,
    Difference,
    compare_definitions,
    parse_flags,
    parse_rendered,
    read_definition,
)
from stack.containers.layout import Layout, Limits, Mount, Service
from stack.containers.render import render_override

ARGV = ("/models/m@1", "--served-model-name", "it's $5", "--enforce-eager", "--hf-overrides", '{"a":1}')
SERVICE = Service(
    name="engine", image="a/b@sha256:1", command=ARGV, environment={"HOME": "/cache", "PRICE": "$5"},
    mounts=(Mount(Path("/models/x"), "/models/m@1"), Mount(Path("/cache/y"), "/cache", read_only=False)),
    secrets={"api_key": Path("/s/api_key")}, address="127.0.0.1", port=8001, user="1000:0",
    limits=Limits(1.5, "2048m"), stamp="abc",
)  # fmt: skip
LAYOUT = Layout("mine", "cuda", ("0", "1"), {"engine": SERVICE}, {}, "1g")

# As Docker 20.10 gives it, what does not matter here left out.
INSPECTED = {
    "Config": {
        "Image": "a/b@sha256:1", "Cmd": list(ARGV), "User": "1000:0",
        "Env": ["HOME=/cache", "PRICE=$5", "PATH=/usr/bin", "WITH=an=equals"],
        "Labels": {"dev.stack.config": "abc"},
    },
    "HostConfig": {
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8001"}]},
        "Memory": 2147483648, "NanoCpus": 1500000000, "ShmSize": 1073741824,
        "DeviceRequests": [{"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]]}],
    },
    "Mounts": [
        {"Type": "bind", "Source": "/models/x", "Destination": "/models/m@1", "RW": False},
        {"Type": "bind", "Source": "/cache/y", "Destination": "/cache", "RW": True},
        {"Type": "bind", "Source": "/s/api_key", "Destination": "/run/secrets/api_key", "RW": False},
        {"Type": "volume", "Name": "v", "Source": "/var/lib/docker/volumes/v", "Destination": "/data"},
    ],
}  # fmt: skip
INHERITED = ["PATH=/usr/bin", "WITH=an=equals"]


def render():
    return parse_rendered(render_override(LAYOUT)["services"]["engine"])


def test_what_was_rendered_and_what_docker_made_of_it_are_the_same():
    found = read_definition(INSPECTED, INHERITED)
    assert found == render()
    assert compare_definitions(render(), found, is_engine=True) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"command": ("/models/m@2", *ARGV[1:])}, Difference("model path", "/models/m@1", "/models/m@2")),
        ({"command": (*ARGV, "--max-num-seqs", "4")}, Difference("arg max-num-seqs", None, "4")),
        ({"command": ARGV[:3] + ARGV[4:]}, Difference("arg enforce-eager", "given", None)),
        ({"published": "127.0.0.1:9"}, Difference("address and port", "127.0.0.1:8001", "127.0.0.1:9")),
        ({"published": None}, Difference("address and port", "127.0.0.1:8001", None)),
        ({"user": None}, Difference("user", "1000:0", None)),
        ({"memory_bytes": 5}, Difference("memory limit in bytes", "2147483648", "5")),
        ({"cpus": None}, Difference("CPU limit", "1.5", None)),
        ({"shm_bytes": 7}, Difference("shm size in bytes", "1073741824", "7")),
        ({"devices": None}, Difference("GPUs", "0, 1", None)),
        ({"secrets": frozenset()}, Difference("secrets", "api_key", None)),
        ({"stamp": "old"}, Difference("mounted configuration", "abc", "old")),
        ({"mounts": {"/cache": "/cache/y"}}, Difference("mount /models/m@1", "/models/x", None)),
        ({"environment": {"HOME": "/cache"}}, Difference("environment PRICE", "set", None)),
        ({"environment": {"HOME": "/x", "PRICE": "$5"}}, Difference("environment HOME", "set", "not the same")),
    ],
)  # fmt: skip
def test_each_difference_is_told_by_its_name(change, difference):
    found = replace(read_definition(INSPECTED, INHERITED), **change)
    assert compare_definitions(render(), found, is_engine=True) == [difference]


def test_the_value_of_a_variable_is_never_told():
    found = replace(render(), environment={"HOME": "hidden", "PRICE": "$5", "MORE": "hidden"})
    told = compare_definitions(render(), found, is_engine=True)
    assert [item.what for item in told] == ["environment HOME", "environment MORE"]
    assert "hidden" not in repr(told)


def test_what_the_shipped_files_add_to_another_service_is_no_difference():
    wanted = Definition(image="x", environment={"A": "1"}, mounts={"/etc": "/e"})
    found = replace(wanted, environment={"A": "1", "GF_X": "y"}, mounts={"/etc": "/e", "/host": "/"}, cpus=1.0)
    assert compare_definitions(wanted, found) == []
    assert len(compare_definitions(wanted, found, is_engine=True)) == 3


def test_a_published_address_of_the_new_internet_is_spelled_alike_on_both_sides():
    layout = replace(LAYOUT, services={"engine": replace(SERVICE, address="::1")})
    bindings = {"8000/tcp": [{"HostIp": "::1", "HostPort": "8001"}]}
    wanted = parse_rendered(render_override(layout)["services"]["engine"])
    assert wanted.published == read_definition({"Config": {}, "HostConfig": {"PortBindings": bindings}}).published


def test_flags_are_read_in_every_spelling():
    assert parse_flags(["m", "--a", "1", "2", "--b=-0.5", "--c", "--a", "3"]) == {
        "": ("m",), "a": ("1", "2", "3"), "b": ("-0.5",), "c": (),
    }  # fmt: skip
