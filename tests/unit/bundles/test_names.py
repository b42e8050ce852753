"""Which names a bundle may have."""

import pytest

from stack.bundles.names import build_blob_path, find_collisions, find_name_fault, find_path_fault


@pytest.mark.parametrize("path", [
    "bundle.json", "oci-layout", "index.json", build_blob_path("a" * 64), "tool/install",
    "tool/wheels/numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl",
])  # fmt: skip
def test_the_few_paths_of_a_bundle_are_right(path):
    assert find_path_fault(path) is None


@pytest.mark.parametrize(("path", "said"), [
    ("../bundle.json", "climbs out"), ("blobs/../../etc/passwd", "climbs out"), ("/etc/passwd", "absolute"),
    ("C:/x", "absolute"), ("a//b", "another way"), ("./a", "another way"), ("a/.", "another way"), ("", "no file"),
    (" ", "no file"), ("a\nb", "no file"), ("a\\b", "no file"), ("a\x00b", "no file"), ("x" * 256, "too long"),
    ("blobs/sha256/" + "A" * 64, "no part"), ("compose.yaml", "no part"), ("grafana/dashboards/x.json", "no part"),
    ("tool/wheels/../install", "climbs out"), ("blobs/sha256/" + "a" * 64 + "\n", "no file"),
])  # fmt: skip
def test_everything_else_is_refused(path, said):
    assert said in find_path_fault(path)


@pytest.mark.parametrize(
    "name", ["config.json", "sub/model-00001-of-00002.safetensors", "ünï.txt", "a b", "...", "..a"]
)
def test_free_names_of_models_are_right(name):
    assert find_name_fault(name) is None


@pytest.mark.parametrize(("names", "found"), [
    (["a", "b", "sub/a"], []),
    (["a", "a"], ["a"]),
    (["a", "A"], ["A"]),
    (["caf\u00e9", "cafe\u0301"], ["cafe\u0301"]),
    (["\ufb01x", "fix"], ["fix"]),
    (["a", "a/b"], ["a/b"]),
    (["a/b", "a"], ["a"]),
    (["Sub/a", "sub/b"], ["sub/b"]),
])  # fmt: skip
def test_names_that_are_one_file_somewhere_are_found(names, found):
    assert find_collisions(names) == found
