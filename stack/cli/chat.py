"""`stack chat`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from stack.cli.options import FiniteRange, open_session, project_options
from stack.console import Console


@click.command("chat")
@click.argument("prompt", nargs=-1)
@click.option("--system", help="System prompt")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens")
@click.option("--temperature", type=FiniteRange(0, 2), help="Sampling temperature; 0 is greedy")
@project_options
@click.pass_obj
def command(
    console: Console,
    config_path: Path | None,
    project: str | None,
    prompt: tuple[str, ...],
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
) -> None:
    """Ask the model: one PROMPT (or standard input) gives one answer, no prompt a conversation."""
    from stack.operations.chat.run import Conversation, connect_chat, run_repl
    from stack.operations.chat.wait import StreamWatch

    session = open_session(console, config_path, {"project": project})
    engine = connect_chat(session)
    follow = StreamWatch(engine, session.say).follow
    conversation = Conversation(engine, system=system, max_tokens=max_tokens, temperature=temperature, follow=follow)
    text = " ".join(prompt) or (None if sys.stdin.isatty() else sys.stdin.read().strip())
    if text is not None:
        if not text:
            raise click.UsageError("the prompt is empty")
        for piece in conversation.ask(text):
            console.result(piece, end="")
        console.result("")
        return
    console.info("ask away; /new starts over, /exit or Ctrl-D leaves")
    run_repl(conversation, _read_line, lambda piece: console.result(piece, end=""))


def _read_line() -> str | None:
    try:
        return input("> ")
    except EOFError:
        return None
