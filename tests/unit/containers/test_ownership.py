"""Which containers under a project's name are the project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.containers.ownership import find_foreign_reason, sort_containers

STATE = Path("/state/stack/mine")
OURS = {
    "com.docker.compose.project": "mine",
    "com.docker.compose.service": "engine",
    "com.docker.compose.oneoff": "False",
    "com.docker.compose.project.working_dir": str(STATE),
    "dev.stack.project": "mine",
}


def build(name="mine-engine-1", **labels):
    merged = {key: value for key, value in (OURS | labels).items() if value is not None}
    return {
        "Id": name, "Name": f"/{name}", "Image": "sha256:1", "State": {"Status": "running"},
        "Config": {"Image": "a/b:1", "Labels": merged},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({}, None),
        ({"com.docker.compose.project.working_dir": "/state/stack/other/../mine"}, None),
        ({"dev.stack.project": None}, "this tool did not make it"),
        ({"dev.stack.project": "mine-ejected"}, "it was made for project `mine-ejected`"),
        (
            {"com.docker.compose.project.working_dir": "/home/a/ejected"},
            "it was made from /home/a/ejected, not from this project's state",
        ),
        (
            {"com.docker.compose.project.working_dir": None},
            "it was made from no directory, not from this project's state",
        ),
        ({"com.docker.compose.service": "database"}, "`database` is no service of this stack"),
    ],
)
def test_a_container_is_ours_by_its_labels_and_the_directory_it_was_made_from(labels, why):
    merged = build(**labels)["Config"]["Labels"]
    assert find_foreign_reason(merged, "mine", STATE) == why


def test_a_foreign_container_never_stands_in_for_a_service():
    stranger = build("zz", **{"dev.stack.project": None})
    ours, foreign = sort_containers([build(), stranger], "mine", STATE)
    assert ours["engine"].state.container_id == "mine-engine-1"
    assert [(item.name, item.image, item.state) for item in foreign] == [("zz", "a/b:1", "running")]


def test_a_single_run_of_ours_is_neither_a_service_nor_foreign():
    once = build("mine-engine-run-1", **{"com.docker.compose.oneoff": "True"})
    assert sort_containers([once], "mine", STATE) == ({}, ())
