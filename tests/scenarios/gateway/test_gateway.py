"""`--expose`: other machines reach /v1 through the gateway, with the key, and nothing else."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.scenarios.harness import Stack, eventually
from tests.scenarios.projects import render_config


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack], fake_engine: str) -> Stack:
    config = (
        render_config(fake_engine, "--step-seconds 0.02")
        + """
[services.gateway]
address = "127.0.0.1"
max-body = "1m"
requests-per-second = 50
burst = 30
"""
    )
    made = make_stack("expose", config)
    made.run("up", "--expose", "--no-smoke").demand()
    eventually(
        lambda: made.containers()["gateway"]["State"]["Health"]["Status"] == "healthy",
        "a healthy gateway",
    )
    return made


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> str:
    ports = stack.containers()["gateway"]["HostConfig"]["PortBindings"]
    return f"http://127.0.0.1:{ports['8080/tcp'][0]['HostPort']}"


@pytest.fixture(scope="module")
def headers(stack: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {(stack.state / 'secrets' / 'api_key').read_text().strip()}"}


@pytest.fixture
def http() -> httpx2.Client:
    with httpx2.Client(trust_env=False, timeout=30) as client:
        yield client


def ask(words: str, **more: object) -> dict[str, object]:
    return {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": words}], **more}


def test_a_client_with_the_key_gets_its_answer(gateway: str, headers: dict[str, str], http: httpx2.Client) -> None:
    answer = http.post(f"{gateway}/v1/chat/completions", json=ask("What is the capital of Italy?"), headers=headers)
    assert "Rome" in answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}])
def test_without_the_key_there_is_no_answer(gateway: str, http: httpx2.Client, given: dict[str, str]) -> None:
    answer = http.post(f"{gateway}/v1/chat/completions", json=ask("hello"), headers=given)
    assert answer.status_code == 401 and "error" in answer.json()


@pytest.mark.parametrize(
    "path", ["/metrics", "/version", "/tokenize", "/docs", "/v1/../metrics", "/health", "/invocations"]
)
def test_routes_beside_the_api_are_closed_even_with_the_key(
    gateway: str, headers: dict[str, str], http: httpx2.Client, path: str
) -> None:
    assert http.get(gateway + path, headers=headers).status_code in (400, 404, 405)


def test_streamed_chunks_come_one_by_one(gateway: str, headers: dict[str, str], http: httpx2.Client) -> None:
    moments = []
    body = ask("How do you count?", stream=True, max_tokens=24)
    with http.stream("POST", f"{gateway}/v1/chat/completions", json=body, headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"]:
                moments.append(time.monotonic())
    assert len(moments) > 4
    assert moments[-1] - moments[0] > 0.05, "all chunks came at once: something buffers"


def test_a_body_over_the_limit_is_refused(gateway: str, headers: dict[str, str], http: httpx2.Client) -> None:
    answer = http.post(f"{gateway}/v1/chat/completions", json=ask("x" * 2_000_000), headers=headers)
    assert answer.status_code == 413


def test_the_engine_itself_is_published_on_loopback_only_and_demands_the_key(stack: Stack, http: httpx2.Client) -> None:
    bindings = stack.containers()["engine"]["HostConfig"]["PortBindings"]["8000/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert http.get(stack.url("engine") + "/v1/models").status_code == 401


def test_the_gateway_keeps_no_secret_where_inspect_shows_it(stack: Stack) -> None:
    key = (stack.state / "secrets" / "api_key").read_text().strip()
    assert key not in json.dumps(stack.containers())
    assert key not in (stack.state / "rendered" / "gateway" / "nginx.conf").read_text()


def make_certificate(folder: Path, number: int) -> ssl.SSLContext:
    """Make a self-signed certificate beside its key; gives what trusts that certificate alone."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate: ./scripts/test installs it")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-set_serial", str(number), "-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "gateway.key"), "-out", str(folder / "gateway.pem")]
    subprocess.run([*argv, *files], check=True, capture_output=True)
    (folder / "gateway.key").chmod(0o600)
    return ssl.create_default_context(cafile=str(folder / "gateway.pem"))


def test_with_a_certificate_the_gateway_speaks_tls_and_takes_over_a_renewed_one(
    make_stack: Callable[..., Stack], fake_engine: str
) -> None:
    text = 'address = "127.0.0.1"\ncertificate-file = "gateway.pem"\ncertificate-key-file = "gateway.key"\n'
    stack = make_stack("tls", render_config(fake_engine) + f"[services.gateway]\nexpose = true\n{text}")
    missing = stack.run("up", "--no-smoke").demand(2)
    assert "services.gateway.certificate-file" in missing.err and "does not exist" in missing.err
    assert stack.containers() == {}

    trusted = make_certificate(stack.folder, 1)
    stack.run("up", "--no-smoke").demand()
    url = stack.url("gateway")
    assert url.startswith("https://127.0.0.1:")
    headers = {"Authorization": f"Bearer {(stack.state / 'secrets' / 'api_key').read_text().strip()}"}

    def is_served(context: ssl.SSLContext) -> bool:
        with httpx2.Client(verify=context, trust_env=False, timeout=5) as http:
            try:
                return http.get(f"{url}/v1/models", headers=headers).status_code == 200
            except httpx2.TransportError:
                return False

    eventually(lambda: is_served(trusted), "an answer over TLS")
    with httpx2.Client(trust_env=False, timeout=5) as http:
        # The key must not cross the network in the clear: plain HTTP gets no answer of the API.
        plain = http.get(url.replace("https:", "http:") + "/v1/models", headers=headers)
        assert plain.status_code == 400
    private = (stack.folder / "gateway.key").read_text()
    assert private not in json.dumps(stack.containers())

    engine = stack.containers()["engine"]["Id"]
    renewed = make_certificate(stack.folder, 2)
    assert not is_served(renewed)
    stack.run("up", "--no-smoke").demand()
    eventually(lambda: is_served(renewed), "the renewed certificate")
    assert not is_served(trusted)
    assert stack.containers()["engine"]["Id"] == engine
    assert "nothing to do" in stack.run("up", "--no-smoke").demand().err
