"""Images on their way into a bundle: from the engine's own store, or as the engine sends them."""

import json
from types import SimpleNamespace

import pytest

from stack.bundles.open import open_source, read_whole
from stack.images.reference import parse_reference
from stack.images.references import WantedImage as WantedReference
from stack.operations.bundle import proof as bundle_proof
from stack.operations.bundle import save_images as bundle_images
from stack.operations.bundle.save_images import ImageSaver, name_carried
from stack.operations.bundle.wanted import WantedImage
from stack.operations.images.needs import ImageNeed
from tests.unit.bundles.conftest import CONFIG, DIFF_IDS, LAYERS, build_manifest_body, open_writer, sha256
from tests.unit.bundles.test_export import build_stream

IMAGE_ID = f"sha256:{sha256(CONFIG)}"


class FakeEngine:
    """Sends one image; `asked` are the names that it was asked for."""

    def __init__(self):
        self.asked = []
        self.api = SimpleNamespace(get_image=self._send)

    def info(self):
        return {"Driver": "overlay2", "DockerRootDir": "/nowhere"}

    def _send(self, name, chunk_size):
        self.asked.append(name)
        members = [("c.json", CONFIG), *((f"{number}/layer.tar", body) for number, body in enumerate(LAYERS))]
        return build_stream(*members, manifest=[{"Config": "c.json", "Layers": [n for n, _ in members[1:]]}])


def build_wanted(reference=None):
    found = WantedReference("engine", parse_reference(reference), None) if reference else None
    need = ImageNeed("engine", "none", "acme/engine:1", "it is here", "registry", found, image_id=IMAGE_ID)
    return WantedImage(need, {"Id": IMAGE_ID, "Size": 1000, "RootFS": {"Layers": DIFF_IDS}}, None)


@pytest.fixture
def save(tmp_path, make_session):
    """A function: saves an image into a directory, and gives what the manifest says of it."""
    session, engine = make_session(), FakeEngine()

    def call(wanted, name="dir"):
        with open_writer(tmp_path / name) as writer:
            return ImageSaver(session, engine, writer).save(wanted)

    call.engine = engine
    return call


def test_an_image_without_a_digest_goes_by_its_id(save, tmp_path):
    saved = save(build_wanted("localhost/acme/engine:1"))
    assert (saved.image.name, saved.image.digest, saved.is_renamed) == (name_carried(IMAGE_ID), None, True)
    assert saved.image.manifest == f"sha256:{sha256(build_manifest_body())}"
    assert {file.sha256 for file in saved.files} == {sha256(body) for body in (*LAYERS, CONFIG, build_manifest_body())}
    with open_writer(tmp_path / "dir") as writer:
        assert all(writer.has(sha256(body)) == len(body) for body in LAYERS)


def test_an_image_that_is_there_is_not_asked_for_again(save):
    save(build_wanted())
    assert save(build_wanted()).image.image_id == IMAGE_ID
    assert save.engine.asked == ["acme/engine:1"]


def test_layers_are_read_from_the_store_and_only_what_cannot_be_is_asked_for(save, monkeypatch):
    class Store:
        def read_config(self, image_id):
            return CONFIG

        def open_layer(self, diff_ids):
            body = LAYERS[len(diff_ids) - 1]
            return iter([body] if is_right else [body[:-1]])

    monkeypatch.setattr(bundle_images, "find_layer_store", lambda info: Store())
    is_right = True
    save(build_wanted(), "dir")
    assert save.engine.asked == []
    is_right = False
    save(build_wanted(), "bundle.tar")
    assert save.engine.asked == ["acme/engine:1"]


def test_a_digest_is_carried_with_the_manifests_that_prove_it(save, monkeypatch, tmp_path):
    manifest = json.dumps({"config": {"digest": IMAGE_ID}}).encode()
    reference = f"docker.io/vllm/vllm-openai:v9@sha256:{sha256(manifest)}"
    monkeypatch.setattr(bundle_proof, "_fetch", lambda *rest: [manifest])
    saved = save(build_wanted(reference))
    assert (saved.image.name, saved.is_renamed) == ("docker.io/vllm/vllm-openai:v9", False)
    assert saved.image.digest == f"sha256:{sha256(manifest)}" == saved.image.proof[0]
    assert read_whole(open_source(tmp_path / "dir"), f"blobs/sha256/{sha256(manifest)}") == manifest


def test_a_digest_that_cannot_be_proved_is_not_carried_and_that_is_said(save, said, make_session):
    saved = save(build_wanted("127.0.0.1:9/vllm/vllm-openai:v9@sha256:" + "d" * 64))
    assert (saved.image.digest, saved.image.name) == (None, name_carried(IMAGE_ID))
    assert "cannot be proved in the bundle" in said[0] and "stack pin --archive" in said[0]
