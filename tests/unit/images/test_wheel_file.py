"""The file of a wheel over a real connection: cut off, resumed, replaced, damaged."""

import hashlib
import http.server
import io
import threading
import zipfile

import httpx2
import pytest

from stack.errors import ImageError
from stack.images.wheel_file import WheelFetch
from stack.images.wheels import CommitWheel

NAME = "vllm-0.32.1.dev7+g012345678.cpu-cp38-abi3-manylinux_2_28_x86_64.whl"


def make_zip(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("vllm/__init__.py", text * 4000)
    return packed.getvalue()


WHEEL, OTHER = make_zip("a wheel "), make_zip("another ")
SHA256 = hashlib.sha256(WHEEL).hexdigest()


class Host(http.server.BaseHTTPRequestHandler):
    """Serves one file; `plan` says what to do with each request, `requests` what was asked."""

    body, plan, requests = WHEEL, (), ()

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        type(self).requests = (*self.requests, wanted)
        action, *rest = self.plan or ("all",)
        type(self).plan = tuple(rest)
        if action.isdigit():
            self.send_error(int(action))
            return
        start = 0 if action == "ignores range" or not wanted else int(wanted.removeprefix("bytes=").rstrip("-"))
        if start > len(self.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        end = len(self.body) if action != "cut" else start + (len(self.body) - start) // 2
        self.wfile.write(self.body[start:end])
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.fixture
def fetch(tmp_path):
    """A function: a plan gives the file, what was asked for and the pauses."""
    handler = type("Handler", (Host,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def run(*plan, name=NAME, sha256=None, retries=2):
        handler.plan, handler.requests, pauses, events = plan, (), [], []
        url = f"http://127.0.0.1:{server.server_address[1]}/c/cpu/{name.replace('+', '%2B')}"
        with httpx2.Client(trust_env=False) as client:
            wheel = WheelFetch(
                client, CommitWheel(url, "x"), events.append, "build", retries=retries, sleep=pauses.append
            )
            path = wheel.run(tmp_path, sha256=sha256)
        return path, handler.requests, events

    run.handler = handler
    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_wheel_comes_whole_under_its_own_name_and_is_not_asked_for_again(fetch, tmp_path):
    path, requests, events = fetch()
    assert path == tmp_path / NAME and path.read_bytes() == WHEEL and requests == ("",)
    assert (events[-1].completed_bytes, events[-1].total_bytes) == (len(WHEEL), len(WHEEL))
    assert fetch()[1] == ()
    assert [item.name for item in tmp_path.iterdir()] == [NAME]


def test_what_broke_off_goes_on_where_it_was(fetch):
    path, requests, _ = fetch("cut", "503", "cut")
    half = len(WHEEL) // 2
    assert path.read_bytes() == WHEEL
    assert requests == ("", f"bytes={half}-", f"bytes={half}-", f"bytes={half + (len(WHEEL) - half) // 2}-")


def test_a_host_that_knows_no_ranges_begins_anew(fetch):
    assert fetch("cut", "ignores range")[0].read_bytes() == WHEEL


def test_what_an_earlier_run_left_is_taken_up_or_thrown_away(fetch, tmp_path):
    partial = tmp_path / f"{NAME}.part"
    for left in (WHEEL[:100], OTHER[:100], WHEEL + b"more"):
        partial.write_bytes(left)
        path = fetch(sha256=SHA256)[0]
        assert path.read_bytes() == WHEEL and not partial.exists()
        path.unlink()


def test_a_host_that_keeps_breaking_off_is_told_and_what_came_is_kept(fetch, tmp_path):
    with pytest.raises(ImageError, match="HTTP 404"):
        fetch("404")
    with pytest.raises(ImageError, match="gives no more of"):
        fetch("cut", "503", "503", "503")
    assert (tmp_path / f"{NAME}.part").stat().st_size == len(WHEEL) // 2
    assert fetch()[1] == (f"bytes={len(WHEEL) // 2}-",)


@pytest.mark.parametrize(
    ("body", "sha256"),
    [(OTHER, SHA256), (b"<html>a proxy's page", None), (WHEEL[:-9], None)],
    ids=["another", "page", "cut"],
)
def test_another_file_than_the_locked_one_or_none_at_all_is_refused(fetch, tmp_path, body, sha256):
    fetch.handler.body = body
    with pytest.raises(ImageError, match="serves a wheel that cannot be used"):
        fetch(sha256=sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_wheel_is_found_without_a_hash_too(fetch):
    fetch.handler.body = WHEEL.replace(b"a wheel a wheel", b"a wheel A wheel", 1)
    with pytest.raises(ImageError, match="vllm/__init__.py in it is damaged"):
        fetch()


def test_what_the_lock_calls_a_wheel_must_be_called_like_one(fetch):
    with pytest.raises(ImageError, match="is no wheel of vLLM"):
        fetch(name="other.tar.gz")
