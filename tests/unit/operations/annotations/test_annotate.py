"""Runs as annotations: what Grafana is told, what it links to, and that no trouble with it reaches the run."""

from __future__ import annotations

import datetime
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stack.checks.finding import Finding, Report
from stack.errors import HostError
from stack.history.records import BootStart
from stack.history.store import History, open_history
from stack.operations.annotations import kinds as annotate_kinds
from stack.operations.annotations import send as annotate
from stack.operations.annotations.report import prune_pages
from stack.operations.annotations.send import annotate_run, build_tags, render_text
from stack.operations.session import Session
from tests.fixtures.fake_grafana import FakeGrafana, make_server

STARTED = datetime.datetime(2026, 11, 21, 22, 0, 0, 123456, tzinfo=datetime.UTC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PASSWORD = "correct horse"
ODD_MODEL = 'acme/<img src=x onerror=alert(1)> "big" & more'


@pytest.fixture
def session(make_session: Callable[..., Session]) -> Session:
    session = make_session()
    session.paths.secrets.mkdir(parents=True)
    (session.paths.secrets / "grafana_password").write_text(PASSWORD)
    session.paths.reports.mkdir()
    return session


@pytest.fixture
def history(session: Session) -> History:
    return open_history(session.paths.history)


@pytest.fixture
def grafana() -> FakeGrafana:
    return FakeGrafana(password=PASSWORD)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, make_state: Callable[..., Any]) -> Callable[..., None]:
    """A function: these services run, on these ports."""

    def run(**ports: int) -> None:
        states = {name: make_state(name, host_port=port) for name, port in ports.items()}
        monkeypatch.setattr("stack.operations.annotations.send.find_services", lambda session: states)

    return run


@pytest.fixture
def serving(grafana: FakeGrafana, services: Callable[..., None]) -> Iterator[None]:
    """This Grafana runs, and a Prometheus."""
    server = make_server(grafana, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    services(grafana=server.server_address[1], prometheus=9090)
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def note_boot(history: History, model: str = "acme/tiny", outcome: Any = "ready") -> int:
    start = BootStart(
        kind="k", started_at=STARTED, commit=COMMIT, commit_level="verified", version="0.32.0", image_digest=None,
        image_id="sha256:" + "e" * 64, model=model, revision="r", device="cpu",
    )  # fmt: skip
    boot = history.record_boot(start)
    history.record_phase(boot, "load", 3.2)
    history.finish_boot(boot, outcome, total_seconds=31.25, cache_state="warm")
    return boot


def say_something(session: Session, kind: str = "replay", text: str = "all well") -> None:
    annotate_run(session, kind=kind, title=f"{kind} passed", text=text, tags=("mine",), started=STARTED)


def test_a_boot_is_told_with_its_commit_its_model_and_a_link_to_its_report(session, history, grafana, serving, warned):
    annotate_kinds.annotate_boot(session, note_boot(history))
    [told] = grafana.annotations
    assert told["text"] == (
        "<b>boot ready</b><br>vLLM 0.32.0 (commit 0123456789ab, verified) with acme/tiny: first token after 31.2 s, "
        'caches warm (load 3.2 s)<br><a href="http://127.0.0.1:9090/user/boot-1.html">boot-1</a> '
        "(<code>stack report boot-1</code>)"
    )
    assert told["tags"] == ["stack", "boot", "0123456789ab", "acme/tiny"]
    assert told["time"] == round(STARTED.timestamp() * 1000)
    assert told["timeEnd"] - told["time"] == 31250
    page = session.paths.reports / "boot-1.html"
    assert COMMIT in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o644
    assert warned == []


def test_a_boot_that_failed_is_told_as_such(session, history, grafana, serving):
    annotate_kinds.annotate_boot(session, note_boot(history, outcome="failed"))
    [told] = grafana.annotations
    assert told["text"].startswith("<b>boot failed</b><br>")
    assert "failed after 31.2 s" in told["text"]


def test_a_smoke_run_names_what_failed_and_brings_its_boots_report_up_to_date(session, history, grafana, serving):
    boot = note_boot(history)
    report = Report([Finding("canaries", "fail", "wrong"), Finding("services", "pass", "up")], seconds=2.5)
    history.record_smoke(boot, started_at=STARTED, passed=False, report={"checks": [{"check": "canaries"}]})
    annotate_kinds.annotate_smoke(session, report, STARTED)
    [told] = grafana.annotations
    assert told["text"].startswith("<b>smoke failed</b><br>2 checks in 2.5 s, failed: canaries<br>")
    assert "/user/smoke-1.html" in told["text"]
    assert told["tags"][:3] == ["stack", "smoke", "0123456789ab"]
    assert sorted(path.name for path in session.paths.reports.iterdir()) == ["boot-1.html", "smoke-1.html"]


def test_a_replay_is_told_with_its_counts(session, history, grafana, serving):
    document = {
        "records": {"ended": 3, "total": 4}, "counts": {"equal": 2, "differs": 1, "failed": 0}, "is_passed": False,
        "duration_seconds": 2.0,
    }  # fmt: skip
    history.note_run("replay", STARTED, note_boot(history), False, document)
    annotate_kinds.annotate_replay(session, document, STARTED)
    [told] = grafana.annotations
    assert "<b>replay failed</b><br>3 of 4 requests answered: 2 equal, 1 differs<br>" in told["text"]
    assert "/user/replay-1.html" in told["text"]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("kept", ["<b>upgrade kept</b><br>said"]),
        ("back", ["<b>upgrade rolled back</b><br>said"]),
        ("stranded", ["<b>upgrade failed</b><br>neither engine serves: no room; too slow"]),
        ("interrupted", []),
    ],
)
def test_an_upgrade_is_told_by_how_it_ended(session, grafana, serving, outcome, told):
    annotate_kinds.annotate_upgrade(session, outcome, "said", ["no room", "too slow"], STARTED)
    assert [item["text"] for item in grafana.annotations] == told


@pytest.mark.parametrize("passed", [True, False])
def test_a_way_back_is_told(session, grafana, serving, passed):
    annotate_kinds.annotate_rollback(session, "to vLLM 0.31.0", passed, STARTED)
    [told] = grafana.annotations
    assert told["text"] == f"<b>rollback {'passed' if passed else 'failed'}</b><br>to vLLM 0.31.0"


def test_nothing_in_a_text_is_taken_for_html(session, history, grafana, serving):
    annotate_kinds.annotate_boot(session, note_boot(history, ODD_MODEL))
    [told] = grafana.annotations
    assert "<img" not in told["text"]
    assert "&lt;img src=x onerror=alert(1)&gt; &quot;big&quot; &amp; more" in told["text"]
    assert "<img" not in (session.paths.reports / "boot-1.html").read_text()


def test_a_name_cannot_end_the_link():
    text = render_text("<b>", "a\"'b", '"><script>', 'http://h/"><script>')
    assert "<script>" not in text
    assert text.count("<a ") == 1


@pytest.mark.parametrize("much", ["x" * 5000, '"' * 5000, "ä" * 5000])
def test_long_tags_are_cut_to_what_grafana_takes(session, grafana, serving, warned, much):
    annotate_run(session, kind="replay", title="t", text=much, tags=[f"{n}{much}" for n in range(9)], started=STARTED)
    [told] = grafana.annotations
    assert warned == []
    assert len(told["text"]) < 7000


def test_a_tag_is_there_once_and_never_empty():
    assert build_tags("boot", ["stack", "", " a\n b ", "boot"], None) == ["stack", "boot", "a b"]


def test_a_run_that_the_history_does_not_have_has_no_link(session, history, grafana, serving, warned):
    say_something(session)
    assert [item["text"] for item in grafana.annotations] == ["<b>replay passed</b><br>all well"]
    assert grafana.annotations[0]["tags"] == ["stack", "replay", "mine"]
    assert list(session.paths.reports.iterdir()) == []
    assert warned == []


def test_without_a_prometheus_the_command_stands_for_the_link(session, history, grafana, serving, services):
    history.note_run("replay", STARTED, None, True, {})
    services(grafana=annotate.find_services(session)["grafana"].host_port)
    say_something(session)
    assert grafana.annotations[0]["text"].endswith("<br><code>stack report replay-1</code>")


def test_where_no_grafana_runs_the_report_is_written_and_nobody_is_warned(session, history, services, warned):
    history.note_run("replay", STARTED, None, True, {})
    services(prometheus=9090)
    say_something(session)
    assert (session.paths.reports / "replay-1.html").is_file()
    assert warned == []


def test_a_grafana_that_is_not_there_is_one_warning(session, history, services, warned):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        services(grafana=free.getsockname()[1])
        say_something(session)
    [warning] = warned
    assert warning.startswith("Grafana does not show this replay: ")


def test_a_grafana_that_says_nothing_is_waited_for_no_longer_than_told(session, services, warned, monkeypatch):
    monkeypatch.setattr("stack.operations.annotations.send._PATIENCE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        services(grafana=silent.getsockname()[1])
        say_something(session)
    [warning] = warned
    assert "no answer within 0.05 s" in warning


def test_a_grafana_with_another_password_is_one_warning_that_does_not_show_ours(session, grafana, serving, warned):
    (session.paths.secrets / "grafana_password").write_text("another one")
    say_something(session)
    [warning] = warned
    assert "Grafana refuses our password" in warning
    assert "another one" not in warning


def test_a_grafana_that_refuses_is_one_warning(session, grafana, serving, warned, monkeypatch):
    monkeypatch.setattr("tests.fixtures.fake_grafana.LONGEST_TAGS", 3)
    say_something(session)
    [warning] = warned
    assert "HTTP 400" in warning


def test_a_daemon_that_does_not_answer_is_one_warning(session, warned, monkeypatch):
    def fail(session: Session) -> None:
        raise HostError("the Docker daemon does not answer")

    monkeypatch.setattr("stack.operations.annotations.send.find_services", fail)
    say_something(session)
    assert warned == ["Grafana does not show this replay: the Docker daemon does not answer"]


def test_a_report_that_cannot_be_written_is_one_warning(session, history, grafana, serving, warned):
    history.note_run("replay", STARTED, None, True, {})
    session.paths.reports.rmdir()
    session.paths.reports.write_text("in the way")
    say_something(session)
    [warning] = warned
    assert "cannot be written" in warning


def test_of_the_reports_the_newest_stay(tmp_path):
    for age, name in enumerate(["new.html", "old.html", "older.html"]):
        path = tmp_path / name
        path.write_text("")
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "other.txt").write_text("")
    prune_pages(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.html", "old.html", "other.txt"]
