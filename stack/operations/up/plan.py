"""The plan of `up`: only our own steps, each with the reason why it is needed; and its execution.

The plan is data: `--dry-run` prints it, tests compare it as text. The executor takes no decision: it runs a
step when those that it waits for are done, side by side with others where nothing forbids it.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stack.errors import StackError


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: What it is called in the plan (`image engine`).
        action: What it does (`build localhost/stack/engine:…`).
        cause: Why it is needed.
        after: Names of the steps that it waits for, as far as they are in the plan.
    """

    name: str
    action: str
    cause: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What has to be done, in an order that respects what waits for what."""

    steps: tuple[Step, ...]

    def has(self, name: str) -> bool:
        """Tell whether a step is in the plan."""
        return any(step.name == name for step in self.steps)


def render_plan(plan: Plan) -> str:
    """Give a plan as text: one line a step, with what it waits for and why it is needed."""
    if not plan.steps:
        return "nothing to do: everything is as the configuration wants it"
    numbers = {step.name: number for number, step in enumerate(plan.steps, 1)}
    lines = []
    for step in plan.steps:
        waits = [f"#{numbers[name]}" for name in step.after if name in numbers]
        after = f" after {', '.join(waits)}" if waits else ""
        lines.append(f"#{numbers[step.name]} {step.name}: {step.action}{after}, because {step.cause}")
    return "\n".join(lines)


class StepsFailedError(StackError):
    """Several steps failed; each failure is told, and the exit code is the first one's."""

    def __init__(self, failures: Mapping[str, StackError]) -> None:
        self.failures = dict(failures)
        first = next(iter(self.failures.values()))
        self.exit_code = first.exit_code
        message = "\n".join(f"{name}: {failure.message}" for name, failure in self.failures.items())
        details = [f"{name}:\n{failure.detail}" for name, failure in self.failures.items() if failure.detail]
        super().__init__(message, hint=first.hint, detail="\n\n".join(details) or None)


def run_plan(steps: Sequence[Step], actions: Mapping[str, Callable[[], None]], *, workers: int = 8) -> None:
    """Run steps, each as soon as those that it waits for are done.

    A failure keeps back only the steps that wait for it; the others run to their end, so that one failure
    does not hide another and no finished download is lost. An interrupt waits for none of them: each leaves
    what it did in a state that the next `up` continues from.

    Args:
        steps: The steps, in an order that respects `after`.
        actions: What each step does, by name.
        workers: How many run at once.

    Raises:
        StackError: The failure of a step, or all of them together.
    """
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        failures = _run_steps(steps, actions, pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if len(failures) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise StepsFailedError(failures)


def _run_steps(
    steps: Sequence[Step],
    actions: Mapping[str, Callable[[], None]],
    pool: concurrent.futures.ThreadPoolExecutor,
) -> dict[str, StackError]:
    planned = {step.name for step in steps}
    waiting = {step.name: planned.intersection(step.after) for step in steps}
    done: set[str] = set()
    failures: dict[str, StackError] = {}
    running: dict[concurrent.futures.Future[None], str] = {}
    while True:
        for name in [name for name, before in waiting.items() if before <= done]:
            running[pool.submit(actions[name])] = name
            del waiting[name]
        if not running:
            return failures
        finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in finished:
            name = running.pop(future)
            try:
                future.result()
                done.add(name)
            except StackError as err:
                failures[name] = err
