import re

import pytest

from stack.errors import ImageError
from stack.images.references import (
    build_reference,
    load_published_images,
    parse_published_images,
)

COMMIT = "0123456789abcdef" * 2 + "01234567"
DIGEST = "sha256:" + "d" * 64
RECORDS = ["a/x:f", "b/x:f", "text-index:1 (notes)"]


def build_document(**more):
    entry = {"repository": "docker.io/a/b", "tag": "v1", "version": "1"}
    names = ("prometheus", "alertmanager", "grafana", "node-exporter", "dcgm-exporter", "nginx")
    document = {"schema_version": 1, "engine": {"cuda": dict(entry), "cpu": dict(entry)}}
    document |= {name: dict(entry) for name in names}
    document["prometheus"] |= more
    return document


def test_the_shipped_table_is_valid_and_complete():
    table = load_published_images()
    assert sorted(table) == [
        "alertmanager",
        "dcgm-exporter",
        "engine.cpu",
        "engine.cuda",
        "grafana",
        "nginx",
        "node-exporter",
        "prometheus",
    ]
    for name, image in table.items():
        assert image.tag != "latest", name
        assert image.reference.digest == image.digest


def test_the_shipped_cuda_engine_is_pinned_to_a_commit_and_a_digest():
    engine = load_published_images()["engine.cuda"]
    assert re.fullmatch(r"[0-9a-f]{40}", engine.commit)
    assert str(engine.reference) == f"docker.io/vllm/vllm-openai:v{engine.version}@{engine.digest}"


def test_every_shipped_digest_rests_on_three_records():
    for name, image in load_published_images().items():
        if image.digest:
            assert len(image.recorded_in) >= 3, name


def test_a_file_that_is_not_there_is_an_error_with_its_path(tmp_path):
    with pytest.raises(ImageError, match=re.escape(str(tmp_path / "images.toml"))):
        load_published_images(tmp_path / "images.toml")


def test_a_file_that_is_not_toml_is_an_error(tmp_path):
    path = tmp_path / "images.toml"
    path.write_text("[engine")
    with pytest.raises(ImageError, match="cannot be read"):
        load_published_images(path)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"digset": DIGEST}, "f: prometheus: `digset` is unknown"),
        ({"tag": 1}, "f: prometheus.tag must be a string"),
        ({"recorded_in": "a/x:f"}, "f: prometheus.recorded_in must be a list of strings"),
        ({"recorded_in": [1]}, "f: prometheus.recorded_in must be a list of strings"),
        ({"digest": "sha256:00", "recorded_in": RECORDS}, "is not a digest"),
        ({"digest": DIGEST}, "needs 3 independent records"),
        ({"digest": DIGEST, "recorded_in": RECORDS[:2]}, "needs 3 independent records"),
        (
            {"digest": DIGEST, "recorded_in": ["a/x:f", "a/y:f", "a/z:f"]},
            "needs 3 independent records",
        ),
        ({"commit": "abc", "commit_recorded_in": ["a/x:f"]}, "must be 40 hex digits"),
        ({"commit": COMMIT}, "commit_recorded_in"),
        ({"repository": "a/b"}, "must be written in full: `docker.io/a/b`"),
        ({"tag": "no tag"}, "not an image reference"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(more, said):
    with pytest.raises(ImageError, match=re.escape(said)):
        parse_published_images(build_document(**more), "f")


def test_a_right_entry_is_taken():
    table = parse_published_images(build_document(digest=DIGEST, recorded_in=RECORDS), "f")
    assert str(table["prometheus"].reference) == f"docker.io/a/b:v1@{DIGEST}"
    assert table["prometheus"].recorded_in == tuple(RECORDS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.pop("grafana"), "f: `grafana` is missing"),
        (lambda document: document.update(loki={}), "f: `loki` is unknown"),
        (lambda document: document["engine"].update(rocm={}), "f: `engine.rocm` is unknown"),
        (lambda document: document.update(schema_version=2), "schema_version must be 1"),
        (lambda document: document.update(grafana="x"), "f: grafana must be a table"),
        (lambda document: document["grafana"].pop("tag"), "f: grafana: `tag` is missing"),
    ],
)
def test_a_table_of_another_shape_is_refused(change, said):
    document = build_document()
    change(document)
    with pytest.raises(ImageError, match=re.escape(said)):
        parse_published_images(document, "f")


@pytest.mark.parametrize(
    ("service", "device", "name"),
    [
        ("engine", "cuda", "engine.cuda"),
        ("engine", "cpu", "engine.cpu"),
        ("prometheus", "cpu", "prometheus"),
        ("node-exporter", "cuda", "node-exporter"),
        ("gateway", "cpu", "nginx"),
    ],
)
def test_a_service_runs_its_entry_of_the_table(service, device, name):
    table = load_published_images()
    wanted = build_reference(service, device, {}, table)
    assert wanted.published is table[name]
    assert wanted.reference == table[name].reference


def test_an_image_named_in_the_config_is_never_replaced():
    wanted = build_reference("grafana", "cpu", {"grafana": "mine.example/grafana:x"}, load_published_images())
    assert str(wanted.reference) == "mine.example/grafana:x"
    assert wanted.published is None


def test_a_service_without_an_image_is_an_error():
    with pytest.raises(ImageError, match="no image is known for the service `loki`"):
        build_reference("loki", "cpu", {"loki": None}, load_published_images())
