"""An answer that does not come: what is said meanwhile, and how it ends."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from stack.errors import ServiceApiError
from stack.operations.chat.wait import StreamWatch, read_sign

PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting 2.0
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total {tokens}
"""
SILENT = ServiceApiError("engine", "http://x/metrics", "no answer in time")


class FakeEngine:
    """Gives a page of metrics a question, the last one for ever, and lets the answer go on from there.

    `{tokens}` in a page grows with each question.
    """

    base_url = "http://127.0.0.1:8000"

    def __init__(self, *pages, status_code=200):
        self._pages, self._status_code, self._asked = list(pages), status_code, 0
        self.goes_on = threading.Event()

    def fetch_raw(self, method, path, *, timeout_seconds):
        assert (method, path) == ("GET", "/metrics")
        page = self._pages[min(self._asked, len(self._pages) - 1)]
        self._asked += 1
        if self._asked >= len(self._pages):
            self.goes_on.set()
        if isinstance(page, Exception):
            raise page
        return SimpleNamespace(text=page.replace("{tokens}", str(self._asked)), status_code=self._status_code)


def give(*texts):
    return [SimpleNamespace(text=text) for text in texts]


@pytest.fixture
def follow(said):
    """A function: an engine and chunks (an event among them is waited for) give what came, by a quick watch."""

    def call(engine, chunks, patience_seconds=60.0):
        def stream():
            for chunk in chunks:
                if isinstance(chunk, threading.Event):
                    assert chunk.wait(20)
                elif isinstance(chunk, Exception):
                    raise chunk
                else:
                    yield chunk

        watch = StreamWatch(engine, said.append, silence_seconds=0.02, patience_seconds=patience_seconds)
        return [chunk.text for chunk in watch.follow(stream())]

    return call


def test_an_answer_that_comes_is_passed_on_in_silence(follow, said):
    assert follow(FakeEngine(), give("Ber", "", "lin")) == ["Ber", "", "lin"]
    assert said == []


def test_what_is_waited_for_is_said_with_what_the_engine_does(follow, said):
    engine = FakeEngine(PAGE)
    assert follow(engine, [engine.goes_on, *give("Berlin")]) == ["Berlin"]
    assert said[0] == "waiting for the first token for 0 s: it has 1 requests in work and 2 waiting; Ctrl-C ends it"


def test_a_silence_amid_the_answer_is_told_on_a_line_of_its_own(follow, said):
    engine = FakeEngine(SILENT)
    assert follow(engine, [*give("Ber"), engine.goes_on, *give("lin")]) == ["Ber", "lin"]
    assert said[0] == (
        "\nwaiting for the next piece of the answer for 0 s: it does not answer /metrics either; Ctrl-C ends it"
    )


def test_an_engine_that_does_nothing_is_given_up_with_the_next_command(follow):
    never = threading.Event()
    with pytest.raises(ServiceApiError) as caught:
        try:
            follow(FakeEngine(SILENT, SILENT), [never], patience_seconds=0)
        finally:
            never.set()
    assert "nothing was computed for 0 s: it does not answer /metrics either" in caught.value.message
    assert "`stack logs engine`" in caught.value.hint
    assert "`stack up`" in caught.value.hint
    assert caught.value.exit_code == 6


def test_an_engine_that_computes_is_waited_for(follow, said):
    class Clock:
        now = 0.0

        def __call__(self):
            self.now += 20.0
            return self.now

    engine = FakeEngine(*[PAGE] * 8)
    watch = StreamWatch(engine, said.append, silence_seconds=0.01, patience_seconds=70, clock=Clock())

    def stream():
        assert engine.goes_on.wait(20)
        yield from give("late")

    assert [chunk.text for chunk in watch.follow(stream())] == ["late"]
    assert len(said) >= 8


def test_what_breaks_the_answer_is_raised_where_it_is_followed(follow):
    with pytest.raises(ServiceApiError, match="gone"):
        follow(FakeEngine(), [*give("Ber"), ServiceApiError("engine", "http://x", "gone")])
    with pytest.raises(ZeroDivisionError):
        follow(FakeEngine(), [ZeroDivisionError()])


def test_who_goes_away_hangs_up(said):
    is_closed = threading.Event()
    more = threading.Event()

    def stream():
        try:
            yield from give("Ber")
            assert more.wait(20)
            yield from give("lin")
        finally:
            is_closed.set()

    answer = StreamWatch(FakeEngine(), said.append).follow(stream())
    next(answer)
    answer.close()
    more.set()
    assert is_closed.wait(20)


@pytest.mark.parametrize(
    ("page", "status", "text"),
    [
        (PAGE, 200, "it has 1 requests in work and 2 waiting"),
        ("<html>", 502, "it answers HTTP 502 on /metrics"),
        ("", 503, "it answers HTTP 503 on /metrics, without figures"),
        (SILENT, 200, "it does not answer /metrics either"),
    ],
)
def test_the_engines_figures_are_put_in_words(page, status, text):
    assert read_sign(FakeEngine(page, status_code=status)).text == text
