"""What a check is, and what it is given to work with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from stack.checks.finding import Outcome
from stack.checks.smoke.target import Engine, SmokeTarget

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass
class SmokeContext:
    """What every check of one run shares.

    Attributes:
        measured: What a check measured for those that name it in `needs`.
        clock: Monotonic seconds.
    """

    target: SmokeTarget
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """The client of the engine."""
        return self.target.engine


@dataclass(frozen=True)
class Check:
    """One check; a module `check_*.py` beside this one holds it as `CHECK`.

    Attributes:
        name: Stable, kebab-case.
        run: Gives what it found; what it raises (`ServiceApiError`, `ValueError`) becomes a failed finding.
        order: Where it stands in the report; checks of one lane run in this order.
        lane: `engine` checks run one after another, as they measure; `side` checks run beside them.
        model: Which kind of model it is for.
        needs: Checks that must not have failed before; else this one is skipped. Same lane, lower order.
        limit_seconds: Longer than that, and the check has failed. None means a share of the whole time, so
            that a slow engine gets more by one setting.
    """

    name: str
    run: Callable[[SmokeContext], Outcome]
    order: int
    lane: Literal["engine", "side"] = "engine"
    model: Literal["any", "generation", "pooling"] = "any"
    needs: tuple[str, ...] = ()
    limit_seconds: float | None = None


def run_side_by_side(work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """Call `work` on every item at the same moment, a thread each; give the results in the items' order.

    Raises:
        Exception: The first of what the calls raised, after all of them ended.
    """
    results: dict[int, Made] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(given)) if given else None

    def call(index: int) -> None:
        assert barrier is not None
        try:
            barrier.wait()
            results[index] = work(given[index])
        except BaseException as err:  # noqa: BLE001 - carried over to the calling thread and raised there
            errors.append(err)

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(given))]
