"""`stack completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from stack.console import Console


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script; for bash: source <(stack completion bash)."""
    console: Console = context.obj
    root = context.find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    console.result(kind(root, {}, "stack", "_STACK_COMPLETE").source())
