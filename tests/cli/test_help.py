"""The help of every command, whole; `STACK_TEST_WRITE_GOLDEN=1` writes the golden file anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from stack.cli import _COMMANDS, cli

GOLDEN = Path(__file__).parent / "golden" / "help.txt"
COMMANDS = [
    (),
    *((name,) for name in _COMMANDS),
    *(("config", name) for name in ("show", "schema", "table", "init")),
    ("slo", "report"),
]
HEAVY = ("docker", "httpx2", "huggingface_hub", "jinja2", "numpy", "pydantic", "python_on_whales", "rich", "requests")


@pytest.fixture
def helps(invoke):
    """A function: the help of some commands, one after the other."""

    def collect():
        blocks = []
        for words in COMMANDS:
            result = invoke(*words, "--help")
            assert (result.exit_code, result.stderr) == (0, "")
            blocks.append(f"$ stack {' '.join([*words, '--help'])}\n{result.stdout}")
        return "\n".join(blocks)

    return collect


def test_the_help_of_every_command_is_the_golden_one(helps):
    text = helps()
    if os.environ.get("STACK_TEST_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_every_help_fits_a_terminal_of_100_columns(helps):
    assert [line for line in helps().splitlines() if len(line) > 100] == []


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_option_is_explained_in_one_sentence_without_a_period(name):
    command = cli.get_command(click.Context(cli), name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert not parameter.help.endswith("."), parameter.name


def test_the_list_of_commands_is_the_one_of_the_help_without_loading_any():
    assert cli.list_commands(click.Context(cli)) == list(_COMMANDS)
    assert all(cli.get_command(click.Context(cli), name) is not None for name in _COMMANDS)
    assert cli.get_command(click.Context(cli), "nope") is None


@pytest.mark.parametrize("arguments", [["--help"], ["config", "--help"], ["up", "--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments, run_stack):
    code = (
        "import sys\nfrom stack.cli import cli\n"
        f"try:\n    cli.main({arguments!r}, prog_name='stack')\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_the_version_is_the_packages(run_stack):
    from stack import __version__

    assert run_stack("--version").out == f"stack, version {__version__}\n"


def test_no_command_at_all_is_a_wrong_use_that_shows_the_help(run_stack):
    run = run_stack()
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("Usage: stack [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["upp"], "error: `upp` is no command; the nearest is `up`\n\nhint: `stack --help` shows what can be said\n"),
        (["xyz"], "error: `xyz` is no command\n\nhint: `stack --help` shows what can be said\n"),
        (["--nope"], "error: No such option '--nope'\n\nhint: `stack --help` shows what can be said\n"),
        (["config", "nope"], "error: No such command 'nope'\n\nhint: `stack config --help` shows what can be said\n"),
        (["up", "more"], "error: Got unexpected extra argument (more)\n\n"
                         "hint: `stack up --help` shows what can be said\n"),
        (["up", "--device", "tpu"], "error: Invalid value for '--device': 'tpu' is not one of 'auto', 'cuda', 'cpu'\n"
                                    "\nhint: `stack up --help` shows what can be said\n"),
        (["smoke", "--junit"], "error: Option '--junit' requires an argument\n"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_told_like_every_error_and_ends_with_2(run_stack, arguments, said):
    run = run_stack(*arguments)
    assert (run.code, run.out, run.err) == (2, "", said)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_the_tool_itself(run_stack, shell):
    run = run_stack("completion", shell)
    assert (run.code, run.err) == (0, "")
    assert f"_STACK_COMPLETE={shell}_complete" in run.out


@pytest.mark.parametrize(
    ("words", "number", "offered"),
    [
        ("stack s", 1, ["status", "smoke", "slo"]),
        (
            "stack logs ",
            2,
            ["engine", "prometheus", "alertmanager", "grafana", "node-exporter", "dcgm-exporter", "gateway", "all"],
        ),
        ("stack config ", 2, ["init", "schema", "show", "table"]),
        ("stack up --dev", 2, ["--device"]),
        ("stack up --device ", 3, ["auto", "cuda", "cpu"]),
    ],
)
def test_completion_offers_what_can_follow(run_stack, words, number, offered):
    run = run_stack(_STACK_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
    assert [line.partition(",")[2] for line in run.out.splitlines()] == offered
