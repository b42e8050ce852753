"""How a container ended, in words."""

from __future__ import annotations

import pytest

from stack.containers.exits import describe_exit


@pytest.mark.parametrize(
    ("arguments", "options", "message", "hint"),
    [
        (("prometheus", 0), {}, "ended with exit status 0", "stack up"),
        (("prometheus", 2), {}, "ended with exit status 2", "stack logs prometheus"),
        (("engine", 143), {}, "ended with exit status 143 (SIGTERM)", "stack up"),
        (("engine", 1), {}, "ended with exit status 1", "stack logs engine | stack explain -"),
        (
            ("engine", 0), {}, "crashed several times in a row and is not started any more",
            "stack logs engine | stack explain -",
        ),
        (
            ("grafana", 137), {"was_oom_killed": True},
            "ended with exit status 137 (SIGKILL), killed for its memory", "stack logs grafana",
        ),
        (("grafana", 0), {"error": "no such mount"}, "ended with exit status 0: no such mount", "stack logs grafana"),
    ],
)  # fmt: skip
def test_an_end_is_told_with_the_command_that_explains_or_mends_it(arguments, options, message, hint):
    end = describe_exit(*arguments, **options)
    assert (end.message, end.hint, end.was_asked) == (message, hint, hint == "stack up")
