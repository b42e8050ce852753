"""What a save refuses to carry."""

from types import SimpleNamespace

import pytest

from stack.bundles.problem import BundleError
from stack.operations.bundle_save import _demand_no_secrets


@pytest.mark.parametrize("url", ["https://me:word@index.example/v.whl", "https://word@index.example/v.whl"])
def test_a_lock_with_a_password_in_a_url_stops_the_save(tmp_path, url):
    model = SimpleNamespace(token_file=None)
    session = SimpleNamespace(
        paths=SimpleNamespace(secrets=tmp_path / "none"), config=SimpleNamespace(model=model), environ={}
    )
    _demand_no_secrets(session, {"lock": 'wheel = "https://index.example/v.whl"'})
    with pytest.raises(BundleError, match="the lock holds one of this project's secrets") as caught:
        _demand_no_secrets(session, {"lock": f'wheel = "{url}"'})
    assert "word" not in str(caught.value)
