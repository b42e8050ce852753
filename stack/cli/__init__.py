"""The command line: one file a command, loaded only when that command is called."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from stack import __version__
from stack.errors import EXIT_INTERRUPTED, StackError

EXIT_USAGE = 2

_COMMANDS = {
    "up": "Bring the stack up: serve, watch and test a model",
    "doctor": "Check whether `up` would work on this machine",
    "down": "Stop the stack; models on the shared volume stay",
    "status": "Show what runs: services, URLs, model, commit",
    "top": "Watch requests, tokens, latencies, GPUs and alerts, live",
    "logs": "Show a service's log",
    "explain": "Explain a failure from a log, and what to do next",
    "diagnose": "Say what limits the engine now, from two looks at its metrics",
    "events": "Follow starts, ends, restarts, health and alerts",
    "warm": "Bring the model to the shared volume and into memory",
    "pin": "Pin the engine to a commit's digest, verified before any pull",
    "bundle": "Carry the stack to a machine without a network",
    "upgrade": "Try another engine against this one; keep it, or go back",
    "rollback": "Return to the last engine that passed smoke",
    "smoke": "Test whether the running stack answers correctly",
    "verify": "Run the whole chain: up, smoke, bench, faults; one report",
    "demo": "Send mixed traffic and say which panels to look at",
    "replay": "Send recorded requests and compare the answers",
    "bench": "Measure the engine's speed, and compare it with an earlier run",
    "history": "Show what ran on which commit, and with which result",
    "report": "Write a run as an HTML page, and as JUnit XML",
    "dashboards": "Check dashboards, rules and alerts against an engine",
    "slo": "Tell how well the objectives are kept",
    "config": "Show, describe or start a configuration",
    "chat": "Ask the model from the terminal",
    "eject": "Write a plain Compose directory that works without this tool",
    "completion": "Print the shell's completion script",
}


class _ConsoleHandler(logging.Handler):
    """Writes log records where the console can keep them apart from what it draws."""

    def __init__(self, console: Any) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.debug(f"{record.name}: {record.getMessage()}")


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(f"stack.cli.{cmd_name}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not ctx.resilient_parsing:
            import difflib

            nearest = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            near = f"; the nearest is `{nearest[0]}`" if nearest else ""
            raise click.UsageError(f"`{args[0]}` is no command{near}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The help must not import every command to learn its first sentence.
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="stack")
@click.option("-v", "--verbose", count=True, help="Say more; twice shows every process that is run")
@click.option("-q", "--quiet", count=True, help="Say less; twice only errors")
@click.option("--project", "root_project", help="Project name; also behind a command")
@click.option(
    "--config",
    "root_config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="stack.toml to use; also behind a command",
)
@click.pass_context
def cli(context: click.Context, verbose: int, quiet: int, root_project: str | None, root_config: Path | None) -> None:
    """Turn this workstation into a local vLLM inference service that can be trusted."""
    from stack.console import Console

    context.obj = Console(sys.stdout, sys.stderr, verbosity=verbose - quiet, environ=os.environ, stdin=sys.stdin)
    if verbose:
        # Of this tool only: the libraries' own lines would bury every process that we run.
        handler = _ConsoleHandler(context.obj)
        logging.getLogger("stack").addHandler(handler)
        logging.getLogger("stack").setLevel(logging.DEBUG if verbose > 1 else logging.INFO)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    _open_missing_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    # A terminal that was closed; `nohup` has it ignored, and so it stays.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        # Without its standalone mode click gives the code of an `Exit` back instead of raising it.
        code = cli.main(args=arguments, prog_name="stack", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as err:
        err.show()
        sys.exit(EXIT_USAGE)
    except click.ClickException as err:
        _show(_translate(err))
        sys.exit(EXIT_USAGE)
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.stderr.write("interrupted; the same command goes on from here\n")
        _leave(EXIT_INTERRUPTED)
    except StackError as err:
        _show(err)
        _leave(err.exit_code)
    except OSError as err:
        # Help and version are written by click itself; anything else is a bug of ours, and keeps its traceback.
        if traceback.extract_tb(err.__traceback__)[-1].filename != click.utils.__file__:
            raise
        from stack.console import build_output_error

        _show(build_output_error(err))
        _leave(StackError.exit_code)
    _leave(code if isinstance(code, int) else 0)


def _open_missing_streams() -> None:
    # A shell's `<&-` and `>&-` leave none at all, and the next file that is opened would take its place.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _translate(err: click.ClickException) -> StackError:
    context = err.ctx if isinstance(err, click.UsageError) else None
    hint = f"`{context.command_path} --help` shows what can be said" if context is not None else None
    return StackError(err.format_message().rstrip("."), hint=hint)


def _show(err: StackError) -> None:
    from stack.console import Console

    Console(sys.stdout, sys.stderr, environ=os.environ).error(err)


def _leave(code: int) -> None:
    # Threads that wait for the daemon or for a dead connection must not keep the process; and to take down a
    # thousand modules one by one would cost a quick command a tenth of its time.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # full or gone: that was said when it was written to
            stream.flush()
    os._exit(code)


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
