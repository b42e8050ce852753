"""`stack diagnose` on an engine that is only a page: what is printed and how it ends."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stack.operations.diagnose import run as diagnose
from tests.unit.telemetry.diagnosis.pages import METRICS

PAGE = (METRICS / "vllm-0.32.0.txt").read_text()
REJECTED = 'vllm:admission_rejections_total{model_name="smollm2",reason="max_num_queued_reqs"} '


@pytest.fixture
def waited(monkeypatch) -> list[float]:
    """How long the tool slept, on a clock that only it moves."""
    slept: list[float] = []
    run = functools.partial(diagnose.run, clock=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(diagnose, "run", run)
    return slept


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
        server.pages = [PAGE, PAGE]
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_verdict_its_figures_and_what_to_change_are_printed(invoke, engine, waited):
    engine.pages[1] = PAGE.replace(f"{REJECTED}0.0", f"{REJECTED}7.0")
    done = invoke("diagnose", "--engine", engine.url)
    assert (done.exit_code, sum(waited)) == (0, 20)
    assert done.stdout.splitlines() == [
        "smollm2 (engine 0): admission: a queue limit turns requests away (confidence high)",
        "  - 7 by `max-num-queued-reqs` in 20 s; 0 requests ended",
        "  - 0 and 0 waiting",
        "  change: raise `max-num-queued-reqs` if clients may wait longer; else send less, or mend what the queue "
        "waits for",
    ]


def test_it_says_every_few_seconds_that_it_waits(invoke, engine, waited):
    done = invoke("diagnose", "--engine", f"{engine.url}/metrics", "--seconds", "12")
    assert sum(waited) == 12
    assert max(waited) <= 1
    assert "the second look comes in" in done.stderr
    assert "two looks 12.0 s apart" in done.stderr


def test_the_document_has_the_figures(invoke, engine, waited):
    document = json.loads(invoke("diagnose", "--engine", engine.url, "--json").stdout)
    assert (document["schema_version"], document["seconds"]) == (1, 20.0)
    (found,) = document["engines"]
    assert (found["model"], found["engine"], found["verdict"]) == ("smollm2", "0", "idle")
    assert found["limits"][0]["confidence"] == "high"
    assert (found["figures"]["running"], found["figures"]["max_num_seqs"]) == ([0.0, 0.0], None)


def test_too_little_evidence_ends_well_and_says_what_is_missing(invoke, engine, waited):
    restarted = PAGE.replace("process_start_time_seconds 1.76375000012e+09", "process_start_time_seconds 1.8e+09")
    engine.pages[1] = restarted
    done = invoke("diagnose", "--engine", engine.url)
    assert done.exit_code == 0
    assert done.stdout.startswith("engine: not enough evidence\n  missing: the engine started anew between the looks")
    engine.pages = [PAGE, restarted]
    document = json.loads(invoke("diagnose", "--engine", engine.url, "--json").stdout)
    assert (document["engines"][0]["verdict"], document["engines"][0]["figures"]) == ("not enough evidence", None)


def test_an_engine_that_does_not_answer_ends_with_6(run_stack):
    done = run_stack("diagnose", "--engine", "http://127.0.0.1:9")
    assert (done.code, done.out) == (6, "")
    assert "engine at http://127.0.0.1:9/metrics: " in done.err


def test_an_engine_that_ends_between_the_looks_ends_with_6(invoke, engine, waited):
    from stack.errors import ServiceApiError

    engine.pages.pop()
    with pytest.raises(ServiceApiError, match="HTTP 503") as caught:
        invoke("diagnose", "--engine", engine.url)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("seconds", ["0", "4", "-1", "nan"])
def test_an_instant_is_no_window(run_stack, seconds):
    assert run_stack("diagnose", "--engine", "http://127.0.0.1:9", "--seconds", seconds).code == 2
