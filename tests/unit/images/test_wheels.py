"""From a commit to a wheel's URL: by documents of upstream's form, over a real server and over none."""

import http.server
import json
import threading

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.sources import load_sources
from stack.images.wheels import (
    CommitWheel,
    MissingWheelError,
    WheelHost,
    fetch_commit_wheel,
    load_wheel_host,
    parse_metadata,
    select_wheel,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = f"https://wheels.example/{COMMIT}/cpu/vllm/metadata.json"
HOST = WheelHost("https://wheels.example/{commit}/{variant}vllm/metadata.json", {"cpu": "cpu/", "cuda": ""})
VERSION = "0.32.1.dev7+g012345678.cpu"


def describe_wheel(version=VERSION, platform="manylinux_2_28_x86_64", folder="../../", package="vllm"):
    """One entry as upstream's index generator writes it: the variant is taken out of `version`."""
    name = f"{package}-{version}-cp38-abi3-{platform}.whl"
    return {
        "package_name": package,
        "version": version.removesuffix(".cpu"),
        "build_tag": None,
        "python_tag": "cp38",
        "abi_tag": "abi3",
        "platform_tag": platform,
        "variant": "cpu",
        "filename": name,
        "path": folder + name.replace("+", "%2B"),
    }


@pytest.fixture
def ask():
    """A function: answers one after the other to a fetch; gives the result, the requests and the pauses."""
    clients = []

    def run(*answers, **options):
        left, requests, pauses = list(answers), [], []

        def answer(request):
            requests.append(request)
            found = left.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        client = httpx2.Client(transport=httpx2.MockTransport(answer))
        clients.append(client)
        given = {"host": HOST, "sleep": pauses.append} | options
        return lambda: fetch_commit_wheel(client, COMMIT, "cpu", "x86_64", **given), requests, pauses

    yield run
    for client in clients:
        client.close()


def test_the_shipped_table_asks_upstream_for_each_device():
    host = load_wheel_host()
    assert host.build_url(COMMIT, "cpu") == f"https://wheels.vllm.ai/{COMMIT}/cpu/vllm/metadata.json"
    assert host.build_url(COMMIT, "cuda") == f"https://wheels.vllm.ai/{COMMIT}/vllm/metadata.json"


def test_the_configuration_names_another_host_or_none():
    mirror = {"wheel": "https://m.example/{commit}/{variant}list.json", "own": "registry.example/vllm:{commit}"}
    assert load_wheel_host(mirror).build_url(COMMIT, "cpu") == f"https://m.example/{COMMIT}/cpu/list.json"
    assert load_wheel_host({"own": "x"}) == load_wheel_host()
    with pytest.raises(MissingWheelError, match="`images.sources.wheel` is empty"):
        load_wheel_host({"wheel": ""})
    # It is no place of images.
    assert [source.name for source in load_sources(mirror).sources][:2] == ["own", "nightly"]


def test_the_wheel_for_this_machine_is_chosen_with_its_whole_version():
    wheels = [
        describe_wheel(platform="manylinux_2_28_aarch64"),
        describe_wheel(),
        describe_wheel(package="vllm_extra"),
    ]
    assert select_wheel(wheels, URL, COMMIT, "x86_64") == CommitWheel(
        f"https://wheels.example/{COMMIT}/vllm-0.32.1.dev7%2Bg012345678.cpu-cp38-abi3-manylinux_2_28_x86_64.whl",
        VERSION,
    )


def test_a_list_without_this_machine_says_what_it_offers():
    with pytest.raises(MissingWheelError, match="no wheel of vLLM for aarch64; it offers manylinux_2_28_x86_64"):
        select_wheel([describe_wheel()], URL, COMMIT, "aarch64")


def test_an_empty_list_has_no_wheel():
    with pytest.raises(MissingWheelError, match="no wheel of vLLM for x86_64$"):
        select_wheel([], URL, COMMIT, "x86_64")


def test_a_wheel_of_another_commit_is_refused():
    with pytest.raises(ImageError, match=f"listed for commit {COMMIT} is of commit fedcba987"):
        select_wheel([describe_wheel("0.32.1.dev7+gfedcba987.cpu")], URL, COMMIT, "x86_64")


def test_a_release_wheel_names_no_commit_and_is_taken():
    assert select_wheel([describe_wheel("0.32.0+cpu")], URL, COMMIT, "x86_64").version == "0.32.0+cpu"


@pytest.mark.parametrize("folder", ["https://elsewhere.example/", "http://wheels.example/", "//elsewhere.example/"])
def test_a_wheel_somewhere_else_is_refused(folder):
    with pytest.raises(ImageError, match="somewhere else"):
        select_wheel([describe_wheel(folder=folder)], URL, COMMIT, "x86_64")


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"{}", b"[1]", b'[{"path": 1}]', b"\xff"])
def test_what_is_no_list_of_wheels_is_told(body):
    with pytest.raises(ImageError, match="is no list of wheels") as caught:
        parse_metadata(body, URL)
    assert "wheels.example" in caught.value.hint


@pytest.mark.parametrize("status", [403, 404])
def test_a_commit_without_a_wheel_is_told_with_the_other_ways(ask, status):
    fetch, requests, _ = ask(httpx2.Response(status))
    with pytest.raises(MissingWheelError, match=f"wheels.example has no cpu wheel of commit {COMMIT}") as caught:
        fetch()
    assert f"HTTP {status}" in caught.value.message and "engine.image" in caught.value.hint
    assert [str(request.url) for request in requests] == [URL]


def test_a_host_that_fails_for_a_moment_is_asked_again(ask):
    body = json.dumps([describe_wheel()])
    fetch, requests, pauses = ask(httpx2.Response(503), httpx2.ReadTimeout("slow"), httpx2.Response(200, text=body))
    assert fetch().version == VERSION
    assert (len(requests), pauses) == (3, [0.5, 1.0])


def test_a_host_that_keeps_failing_is_told(ask):
    fetch, requests, _ = ask(*[httpx2.Response(502)] * 3, retries=2)
    with pytest.raises(ImageError, match="answers HTTP 502"):
        fetch()
    assert len(requests) == 3


def test_a_host_out_of_reach_is_told_at_once(ask):
    fetch, requests, _ = ask(httpx2.ConnectError("no route to host"))
    with pytest.raises(ImageError, match="wheels.example, .*, is not reachable: no route to host") as caught:
        fetch()
    assert len(requests) == 1 and "engine.image" in caught.value.hint


def test_a_redirect_to_plain_http_is_not_followed(ask):
    fetch, _, _ = ask(httpx2.Response(302, headers={"Location": "http://wheels.example/x"}))
    with pytest.raises(ImageError, match="not safe"):
        fetch()


@pytest.fixture
def wheel_server():
    """A server on this machine that has one commit's CPU wheels, and the host as the tool sees it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == f"/{COMMIT}/cpu/vllm/metadata.json"
            body = json.dumps([describe_wheel()]).encode() if known else b"<Error>AccessDenied</Error>"
            self.send_response(200 if known else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    yield WheelHost(base + "/{commit}/{variant}vllm/metadata.json", HOST.variants), base
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_server_is_asked_for_the_wheel(wheel_server):
    host, base = wheel_server
    with httpx2.Client(trust_env=False) as client:
        wheel = fetch_commit_wheel(client, COMMIT, "cpu", "x86_64", host=host)
        assert wheel.url.startswith(f"{base}/{COMMIT}/vllm-0.32.1.dev7%2Bg012345678.cpu-")
        with pytest.raises(MissingWheelError):
            fetch_commit_wheel(client, COMMIT, "cuda", "x86_64", host=host)
        with pytest.raises(MissingWheelError):
            fetch_commit_wheel(client, "f" * 40, "cpu", "x86_64", host=host)
