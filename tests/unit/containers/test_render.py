"""The rendered override, whole, against golden files; `STACK_TEST_WRITE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.containers.layout import Layout, Limits, Mount, Service
from stack.containers.render import escape_interpolation, render_json, render_override, spell_path

GOLDEN = Path(__file__).parent / "golden"
STATE = Path("/home/ana/.local/state/stack/mine")
ENGINE = Service(
    name="engine",
    image="docker.io/vllm/vllm-openai@sha256:" + "a" * 64,
    command=("/models/m@0123", "--served-model-name", "m", "--max-model-len", "auto"),
    environment={"HOME": "/cache", "DO_NOT_TRACK": "1"},
    mounts=(
        Mount(Path("/home/ana/.local/share/stack/models/hub/m/0123/files"), "/models/m@0123"),
        Mount(Path("/home/ana/.cache/stack/mine"), "/cache", read_only=False),
    ),
    address="127.0.0.1",
    port=8000,
    user="1000:0",
    limits=Limits(6.5, "20000m"),
    stamp="0011223344556677",
)
PROMETHEUS = Service("prometheus", "sha256:" + "b" * 64, address="127.0.0.1", port=9090, limits=Limits(None, "1g"))
DCGM = Service("dcgm-exporter", "nvcr.io/nvidia/k8s/dcgm-exporter@sha256:" + "c" * 64)
GATEWAY = Service(
    name="gateway",
    image="localhost/stack/gateway:bookworm-0123",
    command=("nginx", "-c", "/etc/stack/nginx.conf"),
    mounts=(Mount(STATE / "rendered/gateway", "/etc/stack"),),
    secrets={"gateway_key": STATE / "secrets/gateway_key"},
    address="::",
    port=8080,
    user="65534:65534",
    groups=("44",),
)


def build_layout(*services, device="cpu", devices="all", shm_size="1g", left_out=None):
    named = {service.name: service for service in services}
    return Layout("mine", device, devices, named, left_out or {}, shm_size)


LAYOUTS = {
    "cpu": build_layout(ENGINE, PROMETHEUS, left_out={"grafana": "no registry"}),
    "cuda-all": build_layout(ENGINE, PROMETHEUS, DCGM, device="cuda", shm_size="8g"),
    "cuda-count": build_layout(ENGINE, device="cuda", devices=2, shm_size=None),
    "cuda-ids": build_layout(ENGINE, DCGM, device="cuda", devices=("0", "GPU-4f1a")),
    "gateway": build_layout(ENGINE, PROMETHEUS, GATEWAY),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_override_is_the_golden_one(name):
    path = GOLDEN / f"{name}.json"
    text = render_json(render_override(LAYOUTS[name]))
    if os.environ.get("STACK_TEST_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_service_that_a_file_describes_and_nobody_wants_gets_a_profile_that_nobody_names():
    services = render_override(LAYOUTS["cuda-count"])["services"]
    off = {name for name, service in services.items() if service.get("profiles") == ["not-in-this-stack"]}
    assert off == {"prometheus", "grafana", "node-exporter", "dcgm-exporter"}


def test_a_service_that_no_applied_file_describes_is_not_mentioned():
    services = render_override(LAYOUTS["cpu"])["services"]
    assert "gateway" not in services
    assert "dcgm-exporter" not in services


def test_nothing_is_pulled_by_compose():
    for layout in LAYOUTS.values():
        services = render_override(layout)["services"]
        assert {services[name]["pull_policy"] for name in layout.services} == {"never"}


def test_a_directory_that_is_handed_over_may_pull_what_a_digest_names_and_nothing_else():
    services = render_override(LAYOUTS["gateway"], may_pull=True)["services"]
    policies = {name: service.get("pull_policy") for name, service in services.items()}
    assert (policies["engine"], policies["prometheus"], policies["gateway"]) == ("missing", "never", "never")


def test_secrets_are_files_that_only_their_service_gets():
    document = render_override(LAYOUTS["gateway"])
    path = str(STATE / "secrets/gateway_key")
    assert document["secrets"] == {"gateway-gateway-key": {"file": path}}
    with_secrets = {name for name, service in document["services"].items() if "secrets" in service}
    assert with_secrets == {"gateway"}


def test_two_services_may_name_their_secrets_alike():
    first = Service("engine", "x", secrets={"api_key": Path("/s/a")})
    second = Service("gateway", "x", secrets={"api_key": Path("/s/b")})
    document = render_override(build_layout(first, second))
    assert document["secrets"] == {"engine-api-key": {"file": "/s/a"}, "gateway-api-key": {"file": "/s/b"}}


def test_a_missing_folder_is_an_error_and_not_made_by_docker():
    for mount in render_override(LAYOUTS["cpu"])["services"]["engine"]["volumes"]:
        assert mount["bind"] == {"create_host_path": False}


def test_swap_cannot_lift_a_limit_of_memory():
    engine = render_override(LAYOUTS["cpu"])["services"]["engine"]
    assert engine["memswap_limit"] == engine["mem_limit"] == "20000m"


def test_dollars_of_the_user_reach_the_container_as_they_are():
    service = Service(
        "engine", "x", command=("$HOME", "${A:-b}", "a$$b"), environment={"A": "$B", "C": "p$1"},
        mounts=(Mount(Path("/data/$x"), "/m"),), secrets={"api_key": Path("/s/$y")},
    )  # fmt: skip
    document = render_override(build_layout(service))
    engine = document["services"]["engine"]
    assert engine["command"] == ["$$HOME", "$${A:-b}", "a$$$$b"]
    assert engine["environment"] == {"A": "$$B", "C": "p$$1"}
    assert engine["volumes"][0]["source"] == "/data/$$x"
    assert document["secrets"]["engine-api-key"]["file"] == "/s/$$y"


TEXTS = st.text(st.sampled_from("$a{}:- \n'\"\\é"), max_size=12)
WORDS = st.text(st.sampled_from("$abc_"), min_size=1, max_size=6)


@st.composite
def services(draw):
    return Service(
        name="engine",
        image=draw(TEXTS),
        command=tuple(draw(st.lists(TEXTS, max_size=4))),
        environment=draw(st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), TEXTS, max_size=3)),
        mounts=tuple(Mount(Path("/", word), "/m") for word in draw(st.lists(WORDS, max_size=2))),
        secrets={"api_key": Path("/", draw(WORDS))},
        stamp=draw(TEXTS),
    )


def list_strings(value):
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from list_strings(item)


@settings(derandomize=True, deadline=None, database=None)
@given(services())
def test_no_dollar_of_a_value_survives_unescaped(service):
    document = json.loads(render_json(render_override(build_layout(service))))
    for text in list_strings(document):
        assert "$" not in re.sub(r"\$\$", "", text)


@settings(derandomize=True, deadline=None, database=None)
@given(st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)))
def test_what_compose_reads_back_is_what_was_meant(value):
    def unescape(item):
        if isinstance(item, str):
            return item.replace("$$", "$")
        if isinstance(item, dict):
            return {key: unescape(inner) for key, inner in item.items()}
        return [unescape(inner) for inner in item] if isinstance(item, list) else item

    assert unescape(escape_interpolation(value)) == value


def test_the_same_layout_gives_the_same_text_whatever_the_order_it_was_made_in():
    one, other = build_layout(ENGINE, PROMETHEUS), build_layout(PROMETHEUS, ENGINE)
    assert render_json(render_override(one)) == render_json(render_override(other))


@pytest.mark.parametrize(
    ("path", "spelled"),
    [("/a/b", "/a/b"), ("secrets/key", "./secrets/key"), ("./files", "./files"), ("../up", "./../up")],
)
def test_a_relative_path_cannot_be_taken_for_a_volume(path, spelled):
    assert spell_path(Path(path)) == spelled


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        (LAYOUTS["cpu"], ("compose.yaml",)),
        (LAYOUTS["cuda-all"], ("compose.yaml", "compose.cuda.yaml")),
        (LAYOUTS["gateway"], ("compose.yaml", "compose.gateway.yaml")),
        (
            build_layout(ENGINE, GATEWAY, device="cuda"),
            ("compose.yaml", "compose.cuda.yaml", "compose.gateway.yaml"),
        ),
    ],
)
def test_the_files_that_apply_come_in_the_order_in_which_they_are_merged(layout, files):
    assert layout.compose_files == files
