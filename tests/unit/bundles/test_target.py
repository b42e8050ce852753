"""Which names of a bundle are files, and which are refused before anything is made."""

import pytest

from stack.bundles.problem import BundleError
from stack.bundles.target import is_file_target


@pytest.mark.parametrize("name", ["a.tar", "a.tar.zst", "b.c.tar"])
def test_the_two_archives_are_files(name, tmp_path):
    assert is_file_target(tmp_path / name)


@pytest.mark.parametrize("name", ["a", "vllm-0.9", "a.bundle"])
def test_any_other_name_is_a_directory(name, tmp_path):
    assert not is_file_target(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.zip", "a.tar.xz", "a.zst", "a.TAR", "a.tar.ZST"])
def test_the_name_of_another_archive_is_refused_with_the_two_that_are_known(name, tmp_path):
    with pytest.raises(BundleError) as caught:
        is_file_target(tmp_path / name)
    assert "`.tar` or `.tar.zst`" in caught.value.hint
    (tmp_path / name).mkdir()
    assert not is_file_target(tmp_path / name)
