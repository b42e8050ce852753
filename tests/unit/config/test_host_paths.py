import os

import pytest

from stack.config.host_paths import check_host_paths


def test_what_is_missing_is_found_before_anything_starts(load, tmp_path):
    (tmp_path / "file").touch()
    toml = """\
[model]
id = "./nothing"
token-file = "nothing"
[engine.mounts]
"/templates" = "nothing"
[images]
ca-bundle = "."
pip-find-links = "file"
"""
    assert [str(problem) for problem in check_host_paths(load(toml).config)] == [
        f'engine.mounts."/templates": `{tmp_path}/nothing` does not exist',
        f"model.id: `{tmp_path}/nothing` does not exist",
        f"model.token-file: `{tmp_path}/nothing` does not exist",
        f"images.ca-bundle: `{tmp_path}` is no file",
        f"images.pip-find-links: `{tmp_path}/file` is no directory",
    ]


def test_what_is_there_is_no_problem(load, tmp_path):
    (tmp_path / "token").touch()
    assert check_host_paths(load('model.id = "."\nmodel.token-file = "token"').config) == []
    assert (
        check_host_paths(load('model.id = "org/name"\nimages.pip-find-links = "https://a.example"').config)
        == []
    )


def test_a_file_that_only_others_may_read_is_found(load, tmp_path, monkeypatch):
    (tmp_path / "token").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (problem,) = check_host_paths(load('model.token-file = "token"').config)
    assert problem.message.endswith("cannot be read by this user")


@pytest.mark.parametrize("model", ["demo", "org/name"])
def test_a_model_that_is_no_directory_is_not_looked_for(load, model):
    assert check_host_paths(load(f'model.id = "{model}"').config) == []
