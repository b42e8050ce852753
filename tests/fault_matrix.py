"""The table of faults of `tests/scenarios/README.md`, read from the tests that carry the marker `fault`.

`python -m tests.fault_matrix` prints it.

The marker's two texts are data: they must be literal, so that nothing has to be imported to read them.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHERE = Path("tests/scenarios/README.md")
_HEADER = "| What breaks | What you see, and what survives | Shown by |\n| --- | --- | --- |\n"


@dataclass(frozen=True)
class Fault:
    """A row: what breaks, what the user sees, and the test that shows it."""

    what: str
    seen: str
    path: Path
    test: str


def read_faults(root: Path = ROOT) -> list[Fault]:
    """Read every row, in the order of files and of lines in them."""
    return [fault for path in sorted((root / "tests").rglob("test_*.py")) for fault in _read_file(path, root)]


def render_table(faults: list[Fault]) -> str:
    """Give the rows as a Markdown table, with links that are right from `WHERE`."""
    return _HEADER + "".join(_render_row(fault) for fault in faults)


def _render_row(fault: Fault) -> str:
    shown = f"[{fault.path.parent.name}/{fault.path.stem}]({os.path.relpath(fault.path, WHERE.parent)})"
    return f"| {_begin(fault.what)} | {_begin(fault.seen)} | {shown} |\n"


def _begin(text: str) -> str:
    return text[0].upper() + text[1:]


def _read_file(path: Path, root: Path) -> Iterator[Fault]:
    text = path.read_text(encoding="utf-8")
    if "mark.fault(" not in text:
        return
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in (node for decorator in function.decorator_list for node in ast.walk(decorator)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.fault"):
                what, seen = (_read_text(argument, path) for argument in call.args)
                yield Fault(what, seen, path.relative_to(root), function.name)


def _read_text(node: ast.expr, path: Path) -> str:
    value = ast.literal_eval(node)
    assert isinstance(value, str) and value and "|" not in value and "\n" not in value, (
        f"{path}:{node.lineno}: a row of the table of faults is one line of text without `|`"
    )
    return value


if __name__ == "__main__":
    sys.stdout.write(render_table(read_faults()))
