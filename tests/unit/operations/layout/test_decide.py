"""What is held against what was resolved before anything is fetched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stack.errors import ModelError
from stack.models.reference import ModelReference
from stack.operations.layout.decide import check_model


def test_a_directory_that_cannot_be_served_is_told_before_anything_is_fetched(tmp_path):
    reference = ModelReference("directory", str(tmp_path), tmp_path)
    with pytest.raises(ModelError, match="holds no config.json"):
        check_model(SimpleNamespace(reference=reference, snapshot=None))
    check_model(SimpleNamespace(reference=reference, snapshot="one that nobody touched since it was hashed"))


def test_a_model_that_is_no_directory_is_not_looked_for():
    check_model(SimpleNamespace(reference=ModelReference("hub", "acme/tiny"), snapshot=None))
