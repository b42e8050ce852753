"""A conversation with an engine that answers from a list."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.errors import NotRunningError, ServiceApiError
from stack.operations.chat import run as chat
from stack.operations.chat.run import Conversation, connect_chat, run_repl


class FakeEngine:
    """Streams each answer in pieces; an exception among them is raised there."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.asked = []

    def stream_chat(self, messages, **options):
        self.asked.append(([(item["role"], item["content"]) for item in messages], options))
        for piece in self._answers.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield SimpleNamespace(text=piece)


def test_an_answer_comes_piece_by_piece_and_becomes_part_of_the_conversation():
    engine = FakeEngine(["Ber", "", "lin"], ["Yes"])
    conversation = Conversation(engine)
    assert list(conversation.ask("Capital of Germany?")) == ["Ber", "lin"]
    assert list(conversation.ask("Sure?")) == ["Yes"]
    assert engine.asked[1][0] == [("user", "Capital of Germany?"), ("assistant", "Berlin"), ("user", "Sure?")]


def test_only_what_was_set_is_asked_for():
    engine = FakeEngine(["x"], ["x"])
    list(Conversation(engine).ask("a"))
    list(Conversation(engine, system="be brief", max_tokens=5, temperature=0).ask("a"))
    assert engine.asked[0] == ([("user", "a")], {})
    assert engine.asked[1] == ([("system", "be brief"), ("user", "a")], {"max_tokens": 5, "temperature": 0})


def test_a_failed_answer_leaves_the_conversation_as_it_was():
    engine = FakeEngine(["Ber", ServiceApiError("engine", "http://x", "gone")], ["Berlin"])
    conversation = Conversation(engine)
    with pytest.raises(ServiceApiError):
        list(conversation.ask("Capital of Germany?"))
    assert conversation.messages == []
    list(conversation.ask("Again?"))
    assert engine.asked[1][0] == [("user", "Again?")]


def test_who_goes_away_in_the_middle_leaves_the_conversation_as_it_was():
    conversation = Conversation(FakeEngine(["Ber", "lin"]))
    pieces = conversation.ask("Capital of Germany?")
    next(pieces)
    pieces.close()
    assert conversation.messages == []


@pytest.mark.parametrize("end", [None, "/exit", " /quit "])
def test_a_conversation_ends_with_the_input_or_on_demand(end):
    lines = iter(["Hello", "", end, "never asked"])
    engine, written = FakeEngine(["Hi"]), []
    run_repl(Conversation(engine), lambda: next(lines), written.append)
    assert written == ["Hi", "\n"]
    assert len(engine.asked) == 1


def test_new_forgets_what_was_said_and_keeps_the_system_prompt():
    lines = iter(["one", "/new", "two", None])
    engine = FakeEngine(["1"], ["2"])
    run_repl(Conversation(engine, system="be brief"), lambda: next(lines), lambda piece: None)
    assert engine.asked[1][0] == [("system", "be brief"), ("user", "two")]


def test_nobody_is_asked_where_no_engine_runs(make_session, monkeypatch):
    monkeypatch.setattr(chat, "read_status", lambda session: SimpleNamespace(is_serving=False, ports={}))
    with pytest.raises(NotRunningError, match="`engine` does not run in project `stack`"):
        connect_chat(make_session())
