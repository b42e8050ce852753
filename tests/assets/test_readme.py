"""The READMEs say what is true: commands parse, links lead somewhere, tables equal what they describe."""

from __future__ import annotations

import inspect
import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from stack import errors
from stack.checks.smoke.registry import load_checks
from stack.cli import cli
from stack.config.schema_json import render_table
from stack.operations.explain import render_markdown
from tests import fault_matrix

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = (
    ".", "compose", "compose/gateway", "compose/images", "grafana", "prometheus", "scripts",
    "stack/bundles", "stack/checks/smoke", "stack/config", "stack/failures", "tests", "tests/scenarios",
)  # fmt: skip
READMES = [ROOT / folder / "README.md" for folder in FOLDERS]


def render_smoke_checks() -> str:
    """Give the table of smoke's checks, in the order of its report: each with the first sentence of its module."""
    found = [(check.name, inspect.getmodule(check.run).__doc__.splitlines()[0]) for check in load_checks()]
    return "| check | what it holds |\n| --- | --- |\n" + "".join(f"| `{name}` | {said} |\n" for name, said in found)


# Where a generated table stands, the name in its two marks, what makes it, and what prints it.
TABLES = [
    ("stack/config/README.md", "config-table", render_table, "stack config table"),
    ("stack/failures/README.md", "failures", lambda: render_markdown() + "\n", "stack explain --list --markdown"),
    (
        fault_matrix.WHERE,
        "faults",
        lambda: fault_matrix.render_table(fault_matrix.read_faults()),
        "python -m tests.fault_matrix",
    ),
    ("stack/checks/smoke/README.md", "smoke-checks", render_smoke_checks, "what render_smoke_checks gives"),
]

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:(?:\S*/)?stack|(?P<up>\./scripts/up))(?P<rest>(?: .*)?)")
PLACEHOLDER = re.compile(r" (?:COMMAND|…).*")


def show_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def find_commands(text: str) -> list[str]:
    """Give every command line of `stack` in a README, without prompt, variables and comment."""
    lines = [(line.strip(), True) for _, body in FENCE.findall(text) for line in body.splitlines()]
    lines += [(span, False) for span in INLINE.findall(FENCE.sub("", text))]
    lines += [(line.strip(), True) for line in text.splitlines() if line.startswith("    ")]
    found = []
    for line, is_whole in lines:
        match = COMMAND.fullmatch(PLACEHOLDER.sub("", line.removeprefix("$ ")))
        if match and (is_whole or match["rest"]):
            words = list(itertools.takewhile(lambda word: word != ">", shlex.split(match["rest"], comments=True)))
            if match["up"]:
                words = ["up", *(word for word in words if word not in ("--yes", "-y"))]
            found.append(shlex.join(words))
    return list(dict.fromkeys(found))


def find(words: list[str]) -> tuple[click.Context, list[str]]:
    """Give the command that a line calls, in its context, and what follows its name."""
    # As the command line makes it: click keeps the help option that it builds first, names and all.
    context = click.Context(cli, info_name="stack", **cli.context_settings)
    while isinstance(context.command, click.Group) and words:
        name, *words = words
        if re.fullmatch("-[vq]+|--verbose|--quiet|--version", name):
            continue
        found = context.command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command `{name}`")
        context = click.Context(found, parent=context, info_name=name)
    return context, words


def parse(words: list[str]) -> None:
    """Raise what is wrong with a line."""
    context, rest = find(words)
    if not isinstance(context.command, click.Group):
        context.command.make_context(context.info_name, rest, parent=context.parent)


def slugs(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_commands() -> list[str]:
    names = []
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        names += [f"{name} {below}" for below in command.commands] if hasattr(command, "commands") else [name]
    return names


COMMANDS = [(path, line) for path in READMES for line in find_commands(path.read_text(encoding="utf-8"))]


def put_between(text: str, mark: str, table: str) -> str:
    """Give a README's text with a table between its two marks."""
    before, begin, rest = text.partition(f"<!-- {mark}:begin -->\n")
    _, end, after = rest.partition(f"<!-- {mark}:end -->")
    assert begin and end, f"the marks <!-- {mark}:begin --> and <!-- {mark}:end --> are missing"
    return before + begin + table + end + after


@pytest.mark.parametrize(("path", "mark", "render", "command"), TABLES, ids=[mark for _, mark, _, _ in TABLES])
def test_a_generated_table_is_what_its_source_says(path, mark, render, command):
    table, shown = render(), (ROOT / path).read_text(encoding="utf-8")
    assert table.count("\n") > 20
    expected = put_between(shown, mark, table)
    if os.environ.get("STACK_TEST_WRITE_GOLDEN") == "1":
        (ROOT / path).write_text(expected, encoding="utf-8")
        return
    assert shown == expected, f"STACK_TEST_WRITE_GOLDEN=1 writes it; or paste `{command}` between the two marks"


def test_the_faults_that_the_readme_picks_are_rows_of_the_whole_table():
    section = README.partition("\n## When it fails\n")[2].partition("\n## ")[0]
    picked = re.findall(r"^\| (.+) \| (.+) \|$", section.partition("| --- | --- |")[2], re.MULTILINE)
    rows = [row.rpartition(" | ")[0] for row in fault_matrix.render_table(fault_matrix.read_faults()).splitlines()]
    assert picked
    for what, seen in picked:
        assert f"| {what} | {seen}" in rows


def test_no_two_rows_of_the_table_of_faults_break_the_same_thing():
    whats = [fault.what for fault in fault_matrix.read_faults()]
    assert sorted(whats) == sorted(set(whats))


def test_a_row_of_a_parametrized_case_is_found_and_a_row_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "tests" / "test_x.py"
    file.parent.mkdir()
    file.write_text(
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.fault('one', 'x'))])\n"
        "@pytest.mark.fault('two', 'y')\n"
        "def test_a(): pass\n"
    )
    found = fault_matrix.read_faults(tmp_path)
    assert [(fault.what, fault.seen, fault.test) for fault in found] == [("one", "x", "test_a"), ("two", "y", "test_a")]
    assert "| One | X | [tests/test_x](../test_x.py) |\n" in fault_matrix.render_table(found)
    file.write_text("@pytest.mark.fault('a | b', 'x')\ndef test_a(): pass\n")
    with pytest.raises(AssertionError, match="without `|`"):
        fault_matrix.read_faults(tmp_path)


def test_command_lines_are_found_wherever_they_stand():
    text = (
        "Run `stack smoke --json` or `stack`.\n\n    ./scripts/up --yes --device cpu  # asks\n\n"
        "```\n$ A=b stack -v status\nstack.toml\nstack runs\n```\n"
        "1. do\n\n   ```sh\n   .venv/bin/stack up …\n   ```\n"
    )
    assert find_commands(text) == ["-v status", "runs", "up", "smoke --json", "up --device cpu"]


@pytest.mark.parametrize("line", ["up --modle x", "u", "config shwo", "logs x", "up --device gpu", "chat --x"])
def test_a_wrong_command_line_does_not_parse(line):
    with pytest.raises(click.UsageError):
        parse(shlex.split(line))


@pytest.mark.parametrize(("path", "line"), COMMANDS, ids=[f"{show_path(p)}: {line}" for p, line in COMMANDS])
def test_every_command_line_parses(path, line):
    parse(shlex.split(line))


@pytest.mark.parametrize("path", READMES, ids=show_path)
def test_every_flag_that_stands_alone_is_one_of_the_tool_or_its_scripts(path):
    known = {"--yes", "--dry-run", "--check"}  # those of scripts/ and of grafana/generate.py
    for name in list_commands():
        known |= {flag for parameter in find(name.split())[0].command.params for flag in parameter.opts}
    for span in INLINE.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        flag = span.partition(" ")[0]
        assert not re.fullmatch("--[a-z-]+", flag) or flag in known, span


@pytest.mark.parametrize("name", list_commands())
def test_every_command_has_its_place_in_the_readme(name):
    assert any(line == name or line.startswith(f"{name} ") for line in find_commands(README))


@pytest.mark.parametrize("path", READMES, ids=show_path)
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(FENCE.sub("", text)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in slugs(target.read_text(encoding="utf-8")), link


def test_the_exit_codes_are_those_of_the_error_tree():
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    tree, waiting = set(), [errors.StackError]
    while waiting:
        error = waiting.pop()
        tree.add(error.exit_code)
        waiting += error.__subclasses__()
    assert told == sorted({0, errors.EXIT_CHECK_FAILED, errors.EXIT_INTERRUPTED} | tree)


@pytest.mark.parametrize("path", READMES, ids=show_path)
def test_paths_in_code_spans_exist(path):
    """A span that begins like one of our folders is a path, unless it has a placeholder in it."""
    folders = "stack|compose|grafana|prometheus|scripts|tests"
    for span in INLINE.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.fullmatch(rf"(?:\./)?(?:{folders})/[\w./-]+", span):
            assert (ROOT / span).exists(), span


@pytest.mark.parametrize("path", READMES, ids=show_path)
def test_nothing_of_one_machine_is_in_a_readme(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/root/|/opt/wheels|/home/(?!me/|vllm)", text)


@pytest.mark.parametrize("script", ["up", "test"])
def test_the_two_commands_are_there_and_can_be_run(script):
    assert f"./scripts/{script}" in README
    done = subprocess.run([ROOT / "scripts" / script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: ./scripts/{script} ")
