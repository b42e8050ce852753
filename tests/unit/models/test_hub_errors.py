from __future__ import annotations

import socket

import pytest

from stack.errors import ModelError

from .conftest import build_model_files


def refusal(ensure, **settings) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ensure(**settings)
    return caught.value


def test_a_gated_model_without_a_token_names_the_page_and_how_to_give_one(hub, ensure, tmp_path):
    hub.add_model("acme/tiny", build_model_files(), gated=True, needs_token="hf_right")
    error = refusal(ensure)
    assert "gated" in error.message
    assert f"{hub.endpoint}/acme/tiny" in error.hint
    assert "HF_TOKEN" in error.hint
    assert hub.count("/resolve/") == 1


def test_a_gated_model_with_a_token_that_has_no_access_says_so(hub, ensure):
    hub.add_model("acme/tiny", build_model_files(), gated=True, needs_token="hf_other")
    error = refusal(ensure, token="hf_right")
    assert "this token has no access" in error.message
    assert f"ask for access at {hub.endpoint}/acme/tiny" in error.hint


def test_a_missing_model_is_named_and_may_be_private(hub, ensure):
    error = refusal(ensure)
    assert error.message == f"`acme/tiny` is not on {hub.endpoint}, or is private"
    assert "spelling" in error.hint


def test_a_private_model_with_another_token_is_not_found(hub, ensure):
    hub.add_model("acme/tiny", build_model_files(), needs_token="hf_other")
    assert "this token has no access" in refusal(ensure, token="hf_right").message


def test_a_missing_revision_is_named(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    assert refusal(ensure, revision="v9").message == "`acme/tiny` has no revision `v9`"


def test_a_wrong_token_is_told_from_a_missing_model(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    error = refusal(ensure, token="hf_wrong")
    assert "does not accept the token" in error.message
    assert "/settings/tokens" in error.hint


def test_the_token_is_in_no_message_and_in_no_event(hub, ensure, events, caplog):
    caplog.set_level("DEBUG")
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(500, "/storage/", times=2)
    hub.known_tokens.add("hf_secret_1")
    ensure(token="hf_secret_1")
    error = refusal(ensure, revision="v9", token="hf_secret_1")
    said = [error.message, error.hint, error.detail, repr(error), caplog.text, repr(events)]
    assert "hf_secret_1" not in repr(said)


def test_a_rate_limit_is_waited_for_as_long_as_the_hub_asks(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(429, "/api/models", headers={"Retry-After": "7"})
    hub.answer_with(429, "/storage/", headers={"Retry-After": "9"})
    waited = []
    ensure(sleep=waited.append)
    assert waited == [7.0, 9.0]


def test_a_rate_limit_of_minutes_is_refused_at_once_with_the_time(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(429, "/api/models", headers={"Retry-After": "300"}, times=99)
    error = refusal(ensure)
    assert "429" in error.message
    assert "300 s" in error.hint
    assert "HF_TOKEN" in error.hint


def test_server_errors_that_pass_are_ridden_out(hub, ensure, events):
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(503, "/api/models", times=2)
    hub.answer_with(500, "/resolve/", times=2)
    ensure()
    assert any("503" in event.text and "trying again" in event.text for event in events)


def test_server_errors_that_stay_end_with_the_status(hub, ensure):
    hub.add_model("acme/tiny", build_model_files())
    hub.answer_with(503, "/api/models", times=99)
    assert "status 503" in refusal(ensure).message


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"pytorch_model.bin": b"x", "config.json": b"{}"}, "only .bin"),
        ({"README.md": b"x"}, "no weights at all"),
    ],
)
def test_a_model_without_safetensors_says_what_it_has(hub, ensure, files, found):
    hub.add_model("acme/tiny", files)
    error = refusal(ensure)
    assert "no safetensors" in error.message
    assert found in error.message


def test_a_hub_that_is_not_there_ends_after_one_more_attempt(hub, ensure):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        waited = []
        error = refusal(ensure, endpoint=endpoint, sleep=waited.append)
    assert f"{endpoint} cannot be reached" in error.message
    assert "demo" in error.hint
    assert len(waited) == 1


@pytest.mark.parametrize("path", ["/api/models", "/storage/"])
def test_a_hub_that_redirects_in_circles_is_told_at_once(hub, ensure, path):
    hub.add_model("acme/tiny", build_model_files())
    hub.redirect_in_circles(path, times=1000)
    waited = []
    error = refusal(ensure, sleep=waited.append)
    assert error.message == f"{hub.endpoint} redirects in circles"
    assert "model.endpoint" in error.hint
    assert waited == []


def test_something_that_answers_but_is_no_hub_is_told(hub, ensure):
    error = refusal(ensure, endpoint=hub.storage + "/storage")
    assert error.exit_code == 7


def test_an_endpoint_that_is_no_address_is_told(ensure):
    assert refusal(ensure, endpoint="nonsense").exit_code == 7
