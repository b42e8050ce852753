"""The reader of the README's examples: nothing is passed over, and what differs is found."""

from __future__ import annotations

import pytest

from tests.readme_examples import Example, find_difference, read_examples

TEXT = """
# stack

## Before

```
$ stack nothing
```

## Shown

Words, and `stack chat` among them.

```sh
# Not a heading.
stack down
```

```
$ stack up
…
done in 3.2 s
$ stack pin x
error: no
```

```toml
offline = true
```

### After

```
$ stack later
```
"""


def test_every_fence_of_a_section_is_read_and_none_of_its_neighbours():
    assert read_examples(TEXT, "Shown") == [
        Example("command", "stack down"),
        Example("command", "stack up", ("…", "done in 3.2 s")),
        Example("command", "stack pin x", ("error: no",)),
        Example("toml", "offline = true\n"),
    ]
    assert not Example("command", "stack chat", ("…",)).is_error
    assert [example.is_error for example in read_examples(TEXT, "Shown")] == [False, False, True, False]


@pytest.mark.parametrize("heading", ["Gone", "show", "Not a heading."])
def test_a_section_that_is_missing_is_an_error(heading):
    with pytest.raises(LookupError, match="has no section"):
        read_examples(TEXT, heading)


@pytest.mark.parametrize(
    ("fence", "said"),
    [("```\nno prompt\n```", "neither commands nor"), ("```json\n{}\n```", "neither"), ("words", "no command")],
)
def test_what_cannot_be_run_is_an_error(fence, said):
    with pytest.raises(LookupError, match=said):
        read_examples(f"# Shown\n\n{fence}\n", "Shown")


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["a", "b"], ["a", "b", "what follows"]),
        (["…", "b"], ["x", "y", "b"]),
        (["…", "b"], ["b"]),
        (["a", "…", "c", "d"], ["a", "c", "x", "c", "d"]),
        (["a … c"], ["a b c"]),
        (["port 127.0.0.1:8000"], ["port 127.0.0.1:8031"]),
        (["sha256:0123…", "sha256:" + "1" * 64], ["sha256:" + "a" * 64, "sha256:" + "b" * 64]),
        (["size  1.2 GB, 3 files in 2 s"], ["size  800 MB, 12 files in 340 ms"]),
        (["2026-01-02 03:04:05 in /home/me/x"], ["2027-11-12 13:14:15 in /tmp/y/x"]),
        ([], ["anything"]),
    ],
)
def test_placeholders_stand_for_what_changes(expected, printed):
    assert find_difference(expected, printed) is None


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["a"], []),
        (["a"], ["x", "a"]),
        (["a", "b"], ["a", "x", "b"]),
        (["…", "b", "c"], ["b", "x", "c"]),
        (["b", "…", "a"], ["a", "b"]),
        (["a.b"], ["axb"]),
        (["version 0.32.0"], ["version 0.31.0"]),
        (["commit 0123"], ["commit 4567"]),
        (["size 1.2 GB"], ["size unknown"]),
        (["exit 9"], ["exit 7"]),
    ],
)
def test_what_differs_is_told(expected, printed):
    said = find_difference(expected, printed)
    assert said is not None and "the README shows" in said
