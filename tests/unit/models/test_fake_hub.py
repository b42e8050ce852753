"""The stub is held to what the real client asks of a hub, its HEAD requests and redirects included."""

from __future__ import annotations

import pytest

from stack.models.hub_client import import_hub

from .conftest import build_model_files


def test_the_real_client_takes_a_whole_snapshot_from_the_stub(hub, tmp_path):
    model = hub.add_model("acme/tiny", build_model_files(), needs_token="hf_right")
    found = import_hub().snapshot_download(
        "acme/tiny",
        endpoint=hub.endpoint,
        local_dir=tmp_path / "got",
        cache_dir=tmp_path / "cache",
        token="hf_right",
    )
    assert found == str(tmp_path / "got")
    for name, body in model.files.items():
        assert (tmp_path / "got" / name).read_bytes() == body
    assert hub.count("/resolve/", "HEAD") == len(model.files)


def test_the_real_client_reads_size_and_hash_from_the_stubs_headers(hub):
    from huggingface_hub import get_hf_file_metadata

    import_hub()
    model = hub.add_model("acme/tiny", build_model_files())
    name = "model-00001-of-00002.safetensors"
    found = get_hf_file_metadata(f"{hub.endpoint}/acme/tiny/resolve/main/{name}", token=False)
    assert (found.commit_hash, found.size) == (model.commit, len(model.files[name]))
    assert found.location.startswith(hub.storage)
    assert len(found.etag) == 64


def test_the_real_client_accepts_wrong_bytes_which_is_why_we_check_them(hub, tmp_path):
    model = hub.add_model("acme/tiny", build_model_files())
    hub.corrupt_body("/storage/", times=99)
    name = "model-00001-of-00002.safetensors"
    path = import_hub().hf_hub_download("acme/tiny", name, endpoint=hub.endpoint, local_dir=tmp_path, token=False)
    with open(path, "rb") as stream:  # noqa: PTH123
        assert stream.read() != model.files[name]


@pytest.mark.parametrize(
    ("model_id", "revision", "error"),
    [("acme/none", "main", "RepositoryNotFoundError"), ("acme/tiny", "none", "RevisionNotFoundError")],
)
def test_the_real_client_knows_the_stubs_refusals(hub, model_id, revision, error):
    hub.add_model("acme/tiny", build_model_files())
    with pytest.raises(OSError) as caught:
        import_hub().HfApi(endpoint=hub.endpoint, token=False).model_info(model_id, revision=revision)
    assert type(caught.value).__name__ == error
