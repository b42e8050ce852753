"""`stack chat`: a prompt reaches the engine as it was written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

ODD = 'it\'s "5 $HOME" `x` \\n %s {y} — ünï 日本 🙂\n\tsecond line'


class FakeEngine:
    """Notes what it is asked."""

    def __init__(self):
        self.asked = []

    def stream_chat(self, messages, **options):
        self.asked.append([dict(message) for message in messages])
        yield SimpleNamespace(text="Ja: ünï $x\n")


@pytest.fixture
def engine(monkeypatch):
    engine = FakeEngine()
    monkeypatch.setattr("stack.operations.chat.run.connect_chat", lambda session: engine)
    return engine


@pytest.mark.fault(
    "A prompt with quotes, unicode, `$` and several lines",
    "It reaches the engine as it was written, from the arguments as from standard input",
)
def test_a_prompt_is_sent_as_it_was_written(invoke, engine):
    done = invoke("chat", "--system", ODD, "--", ODD)
    piped = invoke("chat", input=ODD)
    assert (done.exit_code, piped.exit_code) == (0, 0)
    assert done.stdout == piped.stdout == "Ja: ünï $x\n\n"
    system, user = {"role": "system", "content": ODD}, {"role": "user", "content": ODD}
    assert engine.asked == [[system, user], [user]]


def test_words_of_a_prompt_are_joined_and_an_empty_one_is_refused(invoke, engine):
    assert invoke("chat", "two", "words").exit_code == 0
    assert engine.asked == [[{"role": "user", "content": "two words"}]]
    assert invoke("chat", input=" \n").exit_code == 2
    assert len(engine.asked) == 1
