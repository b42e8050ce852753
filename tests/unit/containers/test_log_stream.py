"""Lines with the daemon's times, from output in pieces."""

from __future__ import annotations

import datetime

import docker.errors
import pytest
import requests

from stack.containers.log_records import RawLine
from stack.containers.log_stream import parse_stamped, read_log, split_bytes, stream_lines
from stack.errors import CommandError
from tests.unit.containers.test_daemon import FakeClient, FakeContainer

STAMP = "2026-11-21T22:30:38.669343738Z"
AT = datetime.datetime(2026, 11, 21, 22, 30, 38, 669343, tzinfo=datetime.UTC)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_whole_however_the_output_comes(size):
    text = "one\r\n\nzwölf\nlast".encode()
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(split_bytes(iter(chunks))) == [b"one\r", b"", "zwölf".encode(), b"last"]


def test_each_line_has_the_daemons_time_and_keeps_its_carriage_return():
    container = FakeContainer(chunks=[f"{STAMP} one\r\n{STAMP} ".encode(), b"two\nno time\n"])
    assert list(stream_lines(FakeClient([container]), "x", follow=True, since=AT)) == [
        RawLine("one\r", AT), RawLine("two", AT), RawLine("no time"),
    ]  # fmt: skip
    asked = {"stream": True, "timestamps": True, "since": int(AT.timestamp())}
    assert container.asked == [asked | {"follow": True, "tail": "all"}]
    list(stream_lines(FakeClient([container]), "x", follow=False, tail=7))
    assert container.asked[1:] == [asked | {"follow": False, "since": None, "tail": 7}]


@pytest.mark.parametrize("text", ["x" * 16384, "x" * 40000, "é" * 20000])
def test_a_line_that_docker_cut_into_parts_is_one_again(text):
    data = text.encode()
    parts = [data[start : start + 16384] for start in range(0, len(data), 16384)]
    assert parse_stamped(b"".join(f"{STAMP} ".encode() + part for part in parts)) == RawLine(text, AT)


def test_a_time_within_a_shorter_line_is_its_own():
    assert parse_stamped(f"{STAMP} said at {STAMP} x".encode()).text == f"said at {STAMP} x"


def test_a_container_that_is_gone_has_no_lines():
    assert list(stream_lines(FakeClient(failure=docker.errors.NotFound("gone")), "x", follow=False)) == []


def test_a_log_that_the_daemon_cannot_read_is_a_failed_tool():
    failure = docker.errors.APIError("configured logging driver does not support reading")
    with pytest.raises(CommandError, match="reading a container's log failed"):
        list(stream_lines(FakeClient([FakeContainer(failure=failure)]), "x", follow=False))


def test_a_log_so_far_is_whole_lines_without_the_carriage_returns_of_a_bar():
    container = FakeContainer(chunks=[b"\rbar 1%\n\none\r\n\xff\ntwo"])
    assert read_log(FakeClient([container]), "x", since=AT) == "bar 1%\n\none\n\ufffd\ntwo\n"
    assert container.asked == [{"since": AT}]


def test_the_log_so_far_of_a_container_that_is_gone_is_empty():
    leaving = requests.Response()
    leaving.status_code = 409
    for failure in (docker.errors.NotFound("gone"), docker.errors.APIError("marked for removal", leaving)):
        assert read_log(FakeClient(failure=failure), "x") == ""


def test_a_log_so_far_that_the_daemon_cannot_read_is_a_failed_tool():
    failure = docker.errors.APIError("configured logging driver does not support reading")
    with pytest.raises(CommandError, match="reading a container's log failed"):
        read_log(FakeClient([FakeContainer(failure=failure)]), "x")
