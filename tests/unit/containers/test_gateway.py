import base64
import dataclasses
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.containers.gateway import (
    ROUTES,
    GatewaySettings,
    Route,
    build_nginx_argv,
    check_gateway_settings,
    render_gateway_key,
    render_nginx_config,
    route_pattern,
)
from stack.errors import ConfigError

KEY = "sk-stack-0123456789abcdefghijklmnopqrstuv"


def routes_that_take(target: str) -> list[Route]:
    return [route for route in ROUTES if re.match(route_pattern(route).replace(r"\z", r"\Z"), target)]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models",
        "/v1/chat/completions",
        "/v1/chat/completions?stream=1",
        "/v1/responses/resp_0a1B-9",
        "/v1/responses/resp_1/cancel",
        "/v1/messages/count_tokens",
    ],
)
def test_inference_routes_match_exactly_one_pattern(target):
    assert len(routes_that_take(target)) == 1


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/tokenize",
        "/invocations",
        "/docs",
        "/health",
        "/",
        "/v1",
        "/v1/",
        "/v1/models/",
        "/v1/load_lora_adapter",
        "/v1/chat/completions/render",
        "/v1/systemone",
        "//v1/models",
        "/v1//models",
        "/v1/../metrics",
        "/v1/models/../../metrics",
        "/v1/%6dodels",
        "/v1/models%3f",
        "/V1/models",
        "/v1/Models",
        "/v1/models;x",
        "/v1/models#x",
        "/v1/models\n",
        "/v1/responses/..",
        "/v1/responses/a%2fb",
        "/v1/responses/a.b",
        "/v1/responses/" + "a" * 129,
    ],
)
def test_other_routes_and_path_tricks_match_no_pattern(target):
    assert routes_that_take(target) == []


@given(st.text(alphabet="/.%v1modelsM2eE?#\\;", max_size=24))
def test_only_the_literal_path_or_one_with_a_query_matches(tail):
    if routes_that_take("/" + tail):
        path = ("/" + tail).split("?")[0]
        assert path == "/v1/models"


def test_the_configuration_has_no_placeholder_left_and_names_every_route():
    text = render_nginx_config(GatewaySettings())
    assert re.findall("@[A-Z_]+@", text) == []
    for route in ROUTES:
        assert f'"~{route_pattern(route)}" {route.method};' in text


def test_limits_and_addresses_of_the_settings_reach_the_configuration():
    settings = GatewaySettings(max_body="5m", requests_per_second=3, burst=7, connections=9, upstream="engine:9")
    text = render_nginx_config(settings)
    assert "client_max_body_size 5m;" in text
    assert "rate=3r/s;" in text
    assert "burst=7 nodelay;" in text
    assert "limit_conn stack_connections 9;" in text
    assert 'set $stack_engine "engine:9";' in text


def test_without_a_certificate_there_is_no_tls():
    assert "ssl" not in render_nginx_config(GatewaySettings())


def test_a_certificate_turns_tls_on():
    settings = GatewaySettings(certificate_file="/run/secrets/c.pem", certificate_key_file="/run/secrets/k.pem")
    text = render_nginx_config(settings)
    assert "listen 8080 ssl default_server;" in text
    assert "ssl_certificate_key /run/secrets/k.pem;" in text


def test_the_configuration_writes_only_under_the_temporary_directory():
    text = render_nginx_config(GatewaySettings())
    assert re.findall(r"^\s*(?:pid|\w+_temp_path) (?!/tmp/)", text, re.MULTILINE) == []


def test_buffering_is_off_both_ways():
    text = render_nginx_config(GatewaySettings())
    assert "proxy_buffering off;" in text
    assert "proxy_request_buffering off;" in text


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"max_body": "big; }"}, "services.gateway.max_body"),
        ({"requests_per_second": 0}, "services.gateway.requests_per_second"),
        ({"burst": -1}, "services.gateway.burst"),
        ({"connections": 0}, "services.gateway.connections"),
        ({"upstream": "engine:8000; include /etc/passwd"}, "services.gateway.upstream"),
        ({"key_file": "/run/a b"}, "services.gateway.key_file"),
        ({"certificate_file": "/run/c.pem"}, "services.gateway.certificate_file"),
    ],
)
def test_a_setting_that_nginx_would_misread_is_refused_with_its_path(change, path):
    settings = dataclasses.replace(GatewaySettings(), **change)
    with pytest.raises(ConfigError) as caught:
        render_nginx_config(settings)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_all_problems_of_the_settings_are_found_at_once():
    settings = GatewaySettings(max_body="x", burst=-1, connections=0)
    assert len(check_gateway_settings(settings)) == 3


def test_the_key_file_holds_a_digest_and_not_the_key():
    text = render_gateway_key(KEY)
    assert KEY not in text
    digest = re.search('secure_link "([A-Za-z0-9_-]{22})"', text).group(1)
    assert base64.urlsafe_b64decode(digest + "==") == hashlib.md5(KEY.encode()).digest()


@pytest.mark.parametrize("key", ["", "short", "a" * 257, "a" * 40 + '"', "a" * 40 + "\n", "ä" * 40])
def test_a_weak_or_unprintable_key_is_refused_and_not_repeated(key):
    with pytest.raises(ConfigError) as caught:
        render_gateway_key(key)
    assert not key or key not in str(caught.value)


def test_nginx_is_told_where_to_log_before_it_reads_its_configuration():
    assert build_nginx_argv("/etc/stack/nginx.conf") == [
        "nginx", "-e", "/dev/stderr", "-c", "/etc/stack/nginx.conf",
    ]  # fmt: skip
