"""Damage of every part in turn is found, and named."""

import random

import pytest

from stack.bundles.names import build_blob_path
from stack.bundles.open import load_manifest, open_source, read_whole
from stack.bundles.problem import BundleError
from stack.bundles.verify import find_damage, find_differences
from tests.unit.bundles.conftest import LAYERS, TOOL, build_bundle, changed, flip, list_bodies, sha256, write_bundle

FILES = sorted({file.path: file for file in build_bundle().files if file.size_bytes}.values(), key=lambda f: f.path)


def find_all(where):
    source = open_source(where)
    bundle = load_manifest(source)
    problems = find_differences(source, bundle)
    return problems + find_damage(source, bundle, skip={problem.path for problem in problems})


def test_a_whole_bundle_has_no_problems_and_every_byte_is_counted(where):
    source = open_source(where)
    bundle = load_manifest(source)
    counted = []
    assert find_differences(source, bundle) == [] == find_damage(source, bundle, on_bytes=counted.append)
    assert sum(counted) == bundle.size_bytes


@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
def test_a_flipped_bit_in_any_member_of_a_file_is_found_and_named(tmp_path, form):
    where = write_bundle(tmp_path / form)
    places = open_source(where).places
    for file in FILES:
        start, end = places[file.path]
        # Behind the frame's own header, whose damage is the next test's.
        position = start + min(20, (end - start) // 2) if form.endswith("zst") else start
        with changed(where):
            flip(where, position)
            found = find_all(where)
        assert [(problem.path, problem.state) for problem in found] == [(file.path, "changed")]
        assert f"({file.part}" in found[0].message


@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
def test_a_flipped_bit_anywhere_in_a_file_never_passes(tmp_path, form):
    where = write_bundle(tmp_path / form)
    chance, size = random.Random(7), where.stat().st_size
    right = {sha256(body) for body in list_bodies()}
    for _ in range(150):
        position = chance.randrange(size)
        with changed(where):
            flip(where, position)
            try:
                found = find_all(where)
            except BundleError:
                continue
            # In padding, or in what a header says of owners and times, it changes nothing that is ever used.
            source = open_source(where)
            assert found or right == {
                sha256(read_whole(source, path)) for path in source.sizes if path.startswith("blobs/")
            }, position


def test_a_flipped_bit_in_any_file_of_a_directory_is_found_and_named(tmp_path):
    where = write_bundle(tmp_path / "dir")
    for file in FILES:
        with changed(where / file.path):
            flip(where / file.path, file.size_bytes // 2)
            found = find_all(where)
        assert [(problem.path, problem.state) for problem in found] == [(file.path, "changed")]
        assert f"({file.part}" in found[0].message


def test_a_part_that_is_missing_cut_grown_or_too_many_is_named(tmp_path):
    where = write_bundle(tmp_path / "dir")
    for file in FILES:
        path = where / file.path
        with changed(path):
            path.unlink()
            assert [(item.path, item.state) for item in find_all(where)] == [(file.path, "missing")]
        for body, said in ((b"x", "was cut"), (path.read_bytes() + b"x", "has grown")):
            with changed(path):
                path.write_bytes(body)
                (found,) = find_all(where)
                assert (found.path, found.state) == (file.path, "size") and said in found.message
    (where / build_blob_path("c" * 64)).write_bytes(b"stranger")
    assert [(item.path, item.state) for item in find_all(where)] == [(build_blob_path("c" * 64), "extra")]


def test_what_an_interrupted_save_left_is_no_part_of_a_bundle(tmp_path):
    where = write_bundle(tmp_path / "dir")
    (where / "partial").mkdir()
    (where / "partial" / "17-3").write_bytes(b"half")
    assert find_all(where) == []


def test_bytes_are_given_on_while_they_are_hashed(where):
    source, kept = open_source(where), {}

    def keep(file, piece):
        kept[file.path] = kept.get(file.path, b"") + piece

    assert find_damage(source, load_manifest(source), keep=keep) == []
    assert kept[build_blob_path(sha256(LAYERS[1]))] == LAYERS[1]
    assert kept["tool/install"] == TOOL["tool/install"]
