"""`stack top` on an engine that is only a page, in a pipe: what is printed and how it ends."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fixtures.fake_prometheus import serving_answers
from tests.unit.telemetry.diagnosis.pages import METRICS

PAGE = (METRICS / "vllm-0.32.0.txt").read_text()
MADE = 'vllm:generation_tokens_total{engine="0",model_name="smollm2"} '
ALERT = {
    "labels": {"alertname": "VllmQueueGrowing", "severity": "warning"},
    "annotations": {"summary": "the queue does not drain"}, "state": "firing", "activeAt": "2026-11-22T08:34:49.123Z",
}  # fmt: skip


@pytest.fixture
def engine() -> Iterator[ThreadingHTTPServer]:
    """A server that gives one page after the other; then it answers 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = self.server.pages.pop(0) if self.server.pages and self.path == "/metrics" else None
            self.send_response(200 if page is not None else 503)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.pages = [PAGE, make_tokens(500)]
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make_tokens(count: int) -> str:
    line = next(line for line in PAGE.splitlines() if line.startswith(MADE))
    return PAGE.replace(line, f"{MADE}{float(line.removeprefix(MADE)) + count}")


def look(invoke, engine, *arguments, **options):
    return invoke("top", "--engine", engine.url, "--interval", "0.2", *arguments, **options)


def test_in_a_pipe_each_look_is_one_line_without_escapes(invoke, engine):
    done = look(invoke, engine, "--count", "2")
    assert (done.exit_code, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert "generated - tokens/s" in first
    assert "generated 0.0 tokens/s" not in second
    assert " tokens/s  ended 0.0/s  " in second
    assert "\x1b" not in done.stdout


def test_once_is_the_whole_view_at_80_columns(invoke, engine):
    done = look(invoke, engine, "--once", env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].startswith(f"stack top  {engine.url} ")
    assert max(map(len, lines)) == 80
    assert any(line.startswith("TTFT ") for line in lines)
    assert "two looks, 0.2 s apart" in done.stderr


def test_once_and_plain_is_a_single_line(invoke, engine):
    assert len(look(invoke, engine, "--once", "--plain").stdout.splitlines()) == 1


def test_json_is_one_document_a_line_and_with_once_a_single_one(invoke, engine):
    done = look(invoke, engine, "--json", "--count", "2")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert [document["schema_version"] for document in (first, second)] == [1, 1]
    assert [document["state"] for document in (first, second)] == ["measuring", "measured"]
    assert second["total"]["recent"]["generation_tokens"] == 500
    engine.pages = [PAGE, make_tokens(7)]
    once = json.loads(look(invoke, engine, "--json", "--once").stdout)
    assert (once["state"], once["total"]["recent"]["generation_tokens"]) == ("measured", 7)


def test_an_engine_that_ends_meanwhile_is_told_and_watched_on(invoke, engine):
    engine.pages = [PAGE, PAGE]
    lines = look(invoke, engine, "--count", "4").stdout.splitlines()
    assert [("engine does not answer since" in line) for line in lines] == [False, False, True, True]
    assert lines[2].endswith("HTTP 503")
    assert lines[2].partition("since ")[2] == lines[3].partition("since ")[2]


def test_once_ends_with_6_where_nothing_answers(run_stack):
    done = run_stack("top", "--once", "--engine", "http://127.0.0.1:9")
    assert (done.code, done.out) == (6, "")
    assert "engine at http://127.0.0.1:9/metrics: " in done.err


def test_neither_the_view_nor_json_nor_an_error_shows_a_login(invoke, run_stack, engine):
    shown = engine.url
    engine.url = shown.replace("://", "://me:secret@")
    assert look(invoke, engine, "--once").stdout.startswith(f"stack top  {shown} ")
    engine.pages = [PAGE, PAGE]
    assert json.loads(look(invoke, engine, "--once", "--json").stdout)["url"] == shown
    done = run_stack("top", "--once", "--engine", "http://me:secret@127.0.0.1:9")
    assert done.code == 6
    assert "engine at http://127.0.0.1:9/metrics: " in done.err
    assert "secret" not in done.out + done.err


def test_what_is_no_address_is_refused(run_stack):
    done = run_stack("top", "--engine", "http://[")
    assert (done.code, done.out) == (2, "")
    assert "--engine: `http://[` is no address" in done.err


def test_infinite_buckets_are_told_as_not_known(invoke, engine):
    engine.pages = [PAGE, re.sub(r"(?m)^(vllm:time_to_first_token_seconds_bucket\{.*\}) .*$", r"\1 +Inf", PAGE)] * 2
    recent = json.loads(look(invoke, engine, "--once", "--json").stdout)["total"]["recent"]
    assert recent["latency_seconds"]["ttft"]["p95"] is None
    assert "NaN" not in look(invoke, engine, "--count", "2", "--json").stdout


def test_alerts_of_a_named_prometheus_are_shown(invoke, engine):
    answers = {"/api/v1/alerts": {"status": "success", "data": {"alerts": [ALERT]}}}
    with serving_answers(answers) as url:
        done = look(invoke, engine, "--once", "--prometheus", url)
    assert "alerts 1 firing" in done.stdout
    assert "  VllmQueueGrowing (warning, for " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--once", "--count", "2"], "`--once` and `--count` exclude each other"),
        (["--interval", "0"], "0.0 is not in the range"),
        (["--interval", "nan"], "`nan` is no number"),
        (["--count", "0"], "0 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(run_stack, arguments, said):
    done = run_stack("top", "--engine", "http://127.0.0.1:9", *arguments)
    assert done.code == 2
    assert said in done.err
