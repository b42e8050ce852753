"""Bundles that strangers wrote: everything that is no plain file of a known path is refused before it is unpacked."""

import io
import os
import subprocess
import tarfile

import pytest
import zstandard

from stack.bundles.names import build_blob_path
from stack.bundles.open import load_manifest, open_source, read_whole
from stack.bundles.problem import BundleError, DamagedBundleError
from tests.unit.bundles.conftest import CONFIG, LAYERS, build_bundle, sha256, write_bundle

BLOB = build_blob_path("a" * 64)


def write_tar(path, *members):
    """Write a tar with members of (name, type, body or link)."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, body in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(body)
                tar.addfile(member, io.BytesIO(body))
            else:
                member.linkname = body
                tar.addfile(member)
    return path


def test_each_form_gives_the_same_files_and_manifest(where):
    source = open_source(where)
    assert load_manifest(source) == build_bundle()
    assert set(source.sizes) == {*build_bundle().paths, "bundle.json"}
    assert read_whole(source, build_blob_path(sha256(LAYERS[0]))) == LAYERS[0]
    assert read_whole(source, build_blob_path(sha256(b""))) == b""


def test_other_programs_unpack_a_file_to_the_same(tmp_path):
    for name, option in (("bundle.tar", "-xf"), ("bundle.tar.zst", "--zstd -xf")):
        path, folder = write_bundle(tmp_path / name), tmp_path / f"from-{name}"
        folder.mkdir()
        subprocess.run(["tar", *option.split(), str(path), "-C", str(folder)], check=True)
        assert load_manifest(open_source(folder)) == build_bundle()
        assert (folder / build_blob_path(sha256(CONFIG))).read_bytes() == CONFIG
        assert os.access(folder / "tool/install", os.X_OK)


def test_a_directory_that_somebody_packed_with_tar_is_read_too(tmp_path):
    folder = write_bundle(tmp_path / "dir")
    subprocess.run(["tar", "-cf", str(tmp_path / "b.tar"), "-C", str(folder), "."], check=True)
    assert load_manifest(open_source(tmp_path / "b.tar")) == build_bundle()


def test_a_file_that_somebody_packed_with_zstd_is_refused_with_what_helps(tmp_path):
    plain = write_bundle(tmp_path / "bundle.tar").read_bytes()
    (tmp_path / "other.tar.zst").write_bytes(zstandard.compress(plain))
    with pytest.raises(BundleError, match="was not packed by") as caught:
        open_source(tmp_path / "other.tar.zst")
    assert "tar --zstd -xf" in caught.value.hint


@pytest.mark.parametrize(("kind", "said"), [
    (tarfile.SYMTYPE, "is a link"), (tarfile.LNKTYPE, "is a link"), (tarfile.CHRTYPE, "is a device"),
    (tarfile.BLKTYPE, "is a device"), (tarfile.FIFOTYPE, "is a pipe"), (tarfile.CONTTYPE, "is something of the type"),
    (tarfile.GNUTYPE_SPARSE, "is something of the type"), (tarfile.XHDTYPE, "is something of the type"),
    (tarfile.GNUTYPE_LONGNAME, "is something of the type"),
])  # fmt: skip
def test_what_is_no_plain_file_is_refused(tmp_path, kind, said):
    header = tarfile.TarInfo(BLOB)
    header.type, header.linkname = kind, "/etc/passwd"
    (tmp_path / "b.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(BundleError, match=said) as caught:
        open_source(tmp_path / "b.tar")
    assert BLOB in caught.value.message


@pytest.mark.parametrize("name", ["../bundle.json", "/etc/cron.d/x", "blobs/../../x", "compose.yaml", "blobs/sha256/x"])
def test_a_path_that_no_bundle_has_is_refused(tmp_path, name):
    path = write_tar(tmp_path / "b.tar", (name, tarfile.REGTYPE, b"x"), ("bundle.json", tarfile.REGTYPE, b"{}"))
    with pytest.raises(DamagedBundleError) as caught:
        load_manifest(open_source(path))
    assert name in caught.value.message and caught.value.exit_code == 9


def test_a_folder_that_climbs_out_is_refused(tmp_path):
    path = write_tar(tmp_path / "b.tar", ("../x", tarfile.DIRTYPE, ""), ("bundle.json", tarfile.REGTYPE, b"{}"))
    with pytest.raises(DamagedBundleError, match="climbs out"):
        load_manifest(open_source(path))


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    path = write_tar(tmp_path / "b.tar", (BLOB, tarfile.REGTYPE, b"x"), (BLOB, tarfile.REGTYPE, b"y"))
    with pytest.raises(DamagedBundleError, match="is there twice"):
        load_manifest(open_source(path))


@pytest.mark.parametrize("make", [
    lambda path: path.symlink_to("/etc/passwd"),
    lambda path: os.mkfifo(path),
])  # fmt: skip
def test_links_and_pipes_in_a_directory_are_refused(tmp_path, make):
    folder = write_bundle(tmp_path / "dir")
    make(folder / build_blob_path("b" * 64))
    with pytest.raises(DamagedBundleError, match="is a link|is no plain file"):
        load_manifest(open_source(folder))


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    folder = write_bundle(tmp_path / "dir")
    (folder / "blobs").rename(tmp_path / "elsewhere")
    (folder / "blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedBundleError, match="blobs is a link"):
        load_manifest(open_source(folder))


def test_a_link_that_takes_a_files_place_later_is_not_followed(tmp_path):
    folder = write_bundle(tmp_path / "dir")
    source, path = open_source(folder), build_blob_path(sha256(LAYERS[1]))
    (folder / path).unlink()
    (folder / path).symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        list(source.read_pieces(path))


@pytest.mark.parametrize("form", ["bundle.tar", "bundle.tar.zst"])
def test_a_file_that_was_cut_anywhere_is_no_bundle(tmp_path, form):
    whole = write_bundle(tmp_path / form).read_bytes()
    for part in range(1, 40):
        # The last block of zeros says nothing that the one before it did not.
        (tmp_path / "cut").write_bytes(whole[: min(len(whole) * part // 40, len(whole) - 1100)])
        with pytest.raises(BundleError, match="is cut|is no bundle|interrupted|was not packed|damaged"):
            load_manifest(open_source(tmp_path / "cut"))


def test_a_member_that_says_to_be_larger_than_the_file_is_refused(tmp_path):
    header = tarfile.TarInfo(BLOB)
    header.size = 1 << 50
    (tmp_path / "b.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(BundleError, match="is cut"):
        open_source(tmp_path / "b.tar")


def test_a_member_that_unpacks_to_more_than_it_says_is_read_no_further(tmp_path):
    path = write_bundle(tmp_path / "bundle.tar.zst")
    source = open_source(path)
    blob = build_blob_path(sha256(LAYERS[0]))
    source.sizes[blob] = 1000
    assert sum(map(len, source.read_pieces(blob))) == 1000


@pytest.mark.parametrize("body", [b"", b"x", b"not a tar" * 100, bytes(10240)])
def test_what_is_no_bundle_is_told(tmp_path, body):
    (tmp_path / "x").write_bytes(body)
    with pytest.raises(BundleError):
        load_manifest(open_source(tmp_path / "x"))


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(BundleError, match="there is no bundle"):
        open_source(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        load_manifest(open_source(tmp_path))
