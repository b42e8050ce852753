"""Images of a stranger's bundle are held against their documents before anything is loaded."""

import json
from types import SimpleNamespace

import pytest

from stack.bundles.manifest import BundleImage
from stack.bundles.problem import BundleError
from stack.operations.bundle.received_images import receive_images
from tests.unit.bundles.conftest import CONFIG, build_bundle, build_manifest_body, sha256

IMAGE_ID = f"sha256:{sha256(CONFIG)}"


def receive(manifest, config=CONFIG, **said):
    """Receive one image whose documents are those."""
    image = BundleImage(
        service="engine", name="a/b:1", image_id=IMAGE_ID, manifest=f"sha256:{sha256(build_manifest_body())}", **said
    )
    bodies = {image.manifest: manifest, image.image_id: config, **dict.fromkeys(image.proof, manifest)}
    opened = SimpleNamespace(bundle=build_bundle(images=(image,)), read=bodies.__getitem__)
    client = SimpleNamespace(images=SimpleNamespace(list=list), info=dict)
    return receive_images(opened, client)


@pytest.mark.parametrize("manifest", [b"[]", b"[" * 100_000, b'{"config": 1, "layers": [1]}', b'{"manifests": []}'])
def test_a_manifest_that_is_none_is_an_error_that_says_whose(manifest):
    with pytest.raises(BundleError, match="engine"):
        receive(manifest)


@pytest.mark.parametrize("config", [b"{}", b"[" * 100_000, json.dumps({"rootfs": {"diff_ids": 5}}).encode()])
def test_a_config_that_is_none_is_an_error_that_says_whose(config):
    with pytest.raises(BundleError, match="image config of engine"):
        receive(build_manifest_body(), config)
