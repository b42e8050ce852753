"""What errors show."""

from __future__ import annotations

import pytest

from stack.errors import ServiceApiError, leave_out_login


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@h:9090/p", "http://h:9090/p"),
        ("http://h:9090", "http://h:9090"),
        ("h:9090", "h:9090"),
        ("me:secret@h:9090/p", "h:9090/p"),
        ("http://h/p?next=http://a@b", "http://h/p?next=http://a@b"),
        ("this project", "this project"),
    ],
)
def test_a_login_in_a_url_is_left_out(url, shown):
    assert leave_out_login(url) == shown


def test_an_error_of_a_service_never_shows_a_login():
    error = ServiceApiError("prometheus", "http://me:secret@h:9090/api", "no answer")
    assert (str(error), error.url) == ("prometheus at http://h:9090/api: no answer", "http://h:9090/api")
