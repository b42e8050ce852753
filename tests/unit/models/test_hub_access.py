from __future__ import annotations

import socket
import threading

import pytest

from stack.errors import ModelError
from stack.models.hub_access import is_hub_reachable, is_offline, load_token


def test_a_hub_that_answers_is_reachable(hub):
    assert is_hub_reachable(hub.endpoint, 5) == (True, f"{hub.endpoint[7:]} answers")


def test_a_closed_port_is_not_reachable():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        reachable, reason = is_hub_reachable(f"http://127.0.0.1:{reserved.getsockname()[1]}", 5)
    assert not reachable
    assert "cannot be reached" in reason


def test_a_server_that_never_answers_is_given_up_in_time(hub):
    gate = threading.Event()
    hub.hold("/api/models", gate)
    reachable, reason = is_hub_reachable(hub.endpoint, 0.2)
    gate.set()
    assert not reachable
    assert "did not answer within 0.2 s" in reason


def test_a_server_error_is_not_reachable(hub):
    hub.answer_with(502, "/api/models")
    assert is_hub_reachable(hub.endpoint, 5) == (False, f"{hub.endpoint[7:]} answers with status 502")


def test_a_block_page_is_no_hub(hub):
    hub.answer_with(403, "/api/models", headers={"Content-Type": "text/html"})
    reachable, reason = is_hub_reachable(hub.endpoint, 5)
    assert not reachable
    assert "not a model hub" in reason


def test_an_offline_environment_is_obeyed_without_asking(hub):
    reachable, reason = is_hub_reachable(hub.endpoint, 5, environ={"HF_HUB_OFFLINE": "1"})
    assert (reachable, reason) == (False, "HF_HUB_OFFLINE is set")
    assert hub.requests == []


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("TRUE", True), ("0", False), ("", False)])
def test_offline_is_told_by_the_usual_values(value, expected):
    assert is_offline({"HF_HUB_OFFLINE": value}) is expected


def test_the_given_file_wins_over_the_environment_and_that_over_the_standard_place(tmp_path):
    given, standard = tmp_path / "given", tmp_path / "hf" / "token"
    standard.parent.mkdir()
    given.write_text("hf_given\n")
    standard.write_text("hf_standard\n")
    environ = {"HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_environ"}
    assert load_token(given, environ) == "hf_given"
    assert load_token(None, environ) == "hf_environ"
    assert load_token(None, {"HF_HOME": environ["HF_HOME"]}) == "hf_standard"
    assert load_token(None, {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("text", ["", "\n", "two tokens"])
def test_a_given_file_without_one_token_is_refused(tmp_path, text):
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(ModelError, match="token-file"):
        load_token(path, {})


def test_a_given_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        load_token(tmp_path / "none", {"HF_TOKEN": "hf_x"})
