"""Loading a bundle: everything in its place, or nothing changed."""

import io
import json
import os
import tarfile
import threading
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import docker.errors
import pytest

from stack.bundles.manifest import BundleImage
from stack.bundles.names import build_blob_path
from stack.bundles.oci import INDEX_TYPE, MANIFEST_TYPE
from stack.bundles.problem import BundleError, DamagedBundleError
from stack.config.load import load_config
from stack.config.lock import Lock, load_lock, render_lock
from stack.errors import ConfigError, ImageError, ModelError
from stack.history.store import open_history
from stack.models.find import find_snapshot
from stack.models.reference import parse_model_reference
from stack.operations.bundle import load as bundle_load
from stack.operations.bundle import model as bundle_model
from stack.operations.bundle import verify as bundle_verify
from stack.operations.bundle.load import run_load
from stack.operations.bundle.lock import build_locked_model
from stack.operations.bundle.target import LoadWishes
from stack.operations.project import load_facts, write_facts
from stack.operations.session import build_session
from stack.progress import ignore
from tests.unit.bundles import conftest as made
from tests.unit.bundles.conftest import (
    CACHES,
    CONFIG,
    DIFF_IDS,
    FORMS,
    LAYERS,
    MODEL,
    build_bundle,
    flip,
    open_writer,
    sha256,
    write_bundle,
)
from tests.unit.operations.bundle.test_bundle_history import BOOT

IMAGE_ID = f"sha256:{sha256(CONFIG)}"
TAG = f"localhost/stack/bundle:{sha256(CONFIG)}"


class FakeDaemon:
    """An engine with the classic store; `sent` are the names in each stream that it got."""

    def __init__(self, root, here=None, refuses=None):
        self.root, self.refuses, self.sent, self.tags = root, refuses, [], {}
        self.here = dict(here or {})
        self.images = SimpleNamespace(get=self._get, list=self._list)
        self.api = SimpleNamespace(base_url="http+docker://x", api_version="1.41", post=self._post)

    def info(self):
        return {"DockerRootDir": str(self.root), "Driver": "overlay2"}

    def _list(self):
        return [SimpleNamespace(id=item, attrs=attributes) for item, attributes in self.here.items()]

    def _get(self, name):
        found = self.tags.get(name, name)
        if found not in self.here:
            raise docker.errors.ImageNotFound("no such image")
        attributes = {"Id": found, **self.here[found]}
        return SimpleNamespace(
            id=found, attrs=attributes, tag=lambda name, tag: self.tags.update({f"{name}:{tag}": found})
        )

    def _post(self, url, *, data, headers, stream, timeout):
        body = b"".join(data)
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
        self.sent.append(files)
        if self.refuses:
            return Answer([json.dumps({"error": self.refuses}).encode()])
        (entry,) = json.loads(files["manifest.json"])
        image_id = f"sha256:{sha256(files[entry['Config']])}"
        self.here[image_id] = {"RootFS": {"Layers": DIFF_IDS}}
        self.tags[entry["RepoTags"][0]] = image_id
        return Answer([])


class Answer:
    status_code = 200

    def __init__(self, lines):
        self.iter_lines = lambda: iter(lines)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


@pytest.fixture(params=FORMS)
def where(request, tmp_path):
    """A bundle of each form."""
    return write_bundle(tmp_path / request.param)


@pytest.fixture
def daemon(tmp_path):
    (tmp_path / "docker").mkdir()
    return FakeDaemon(tmp_path / "docker")


@pytest.fixture
def load(tmp_path, daemon, monkeypatch):
    """A function: loads a bundle on a machine whose home is `home` into the directory `to`."""
    (tmp_path / "to").mkdir()
    monkeypatch.setattr(
        bundle_load, "build_session", lambda *rest: replace(build_session(*rest), connect=lambda: daemon)
    )

    def call(where, **changes):
        environ = {"HOME": str(tmp_path / "home"), **changes.pop("environ", {})}
        flags = {"engine.accept": changes.pop("accept", None), "project": changes.pop("project", None)}
        wishes = LoadWishes(tmp_path / changes.pop("to", "to"), environ, flags, **changes)
        return run_load(where, wishes, ignore, lambda text: None)

    return call


def list_changes(tmp_path):
    """Give every file that a load made."""
    return {path for name in ("home", "to") for path in (tmp_path / name).rglob("*") if path.is_file()
            and path.suffix != ".lock" and path.name != "lock"}  # fmt: skip


def test_everything_comes_to_its_place(where, load, daemon, tmp_path):
    loaded = load(where)
    assert loaded.images == {"engine": IMAGE_ID} and daemon.tags == {TAG: IMAGE_ID}
    volume = tmp_path / "home/.local/share/stack/models"
    config = load_config(tmp_path / "to/stack.toml", {"HOME": str(tmp_path / "home")}).config.model
    snapshot = find_snapshot(parse_model_reference(config.id), revision=config.revision, volume=volume)
    assert {record.name: (snapshot.path / record.name).read_bytes() for record in snapshot.files} == MODEL
    assert config.served_name == "acme/tiny"
    assert config.id == str(loaded.model_place) == str(snapshot.path)
    assert load_lock(tmp_path / "to/stack.lock").images == {}
    assert loaded.caches is None and not any(path.is_file() for path in (tmp_path / "home/.cache").rglob("*"))


def test_a_second_load_sends_and_writes_nothing(where, load, daemon):
    load(where)
    again = load(where)
    assert again.written == () and len(daemon.sent) == 1


def test_the_stream_has_names_that_this_tool_gives_and_every_blob(where, load, daemon):
    load(where)
    (entry,) = json.loads(daemon.sent[0]["manifest.json"])
    assert entry["RepoTags"] == [TAG]
    assert [daemon.sent[0][name] for name in entry["Layers"]] == LAYERS
    (row,) = json.loads(daemon.sent[0]["index.json"])["manifests"]
    assert row["annotations"]["io.containerd.image.name"] == TAG


def test_layers_that_the_engine_has_are_not_sent_again(where, load, daemon):
    daemon.here["sha256:" + "b" * 64] = {"RootFS": {"Layers": DIFF_IDS[:1]}}
    load(where)
    assert build_blob_path(sha256(LAYERS[0])) not in daemon.sent[0]
    assert build_blob_path(sha256(LAYERS[1])) in daemon.sent[0]


def test_compile_caches_are_taken_only_from_whom_one_trusts(tmp_path, load):
    where = write_bundle(tmp_path / "dir")
    assert load(where, trust=True).caches == 1
    (name, body) = next(iter(CACHES.items()))
    assert (tmp_path / "home/.cache/stack/mine" / name).read_bytes() == body


@pytest.mark.parametrize("number", range(len({file.path for file in build_bundle().files})))
def test_damage_of_any_part_is_named_and_changes_nothing(tmp_path, load, daemon, number):
    where = write_bundle(tmp_path / "dir")
    file = sorted({file.path: file for file in build_bundle().files}.values(), key=lambda file: file.path)[number]
    if file.size_bytes:
        flip(where / file.path, file.size_bytes // 2)
    else:
        (where / file.path).unlink()
    with pytest.raises(DamagedBundleError) as caught:
        load(where)
    assert file.path in caught.value.message and f"({file.part}" in caught.value.message
    assert daemon.sent == [] and list_changes(tmp_path) - set((tmp_path / "home").rglob(".staging/**/*")) == set()


def test_what_makes_images_of_a_stream_comes_after_every_byte_was_verified(where, load, daemon, monkeypatch):
    seen = []
    real = daemon._post

    def post(url, *, data, **more):
        def watch():
            for piece in data:
                seen.append((b"manifest.json" in piece, verified.is_set()))
                began.set()
                yield piece

        return real(url, data=watch(), **more)

    began, verified = threading.Event(), threading.Event()
    find = bundle_verify.find_problems

    def find_late(*arguments):
        found = find(*arguments)
        assert began.wait(10), "the stream waits for the verification"
        verified.set()
        return found

    daemon.api.post = post
    monkeypatch.setattr(bundle_verify, "find_problems", find_late)
    load(where)
    assert [is_verified for is_list, is_verified in seen if is_list] == [True]
    assert (False, False) in seen
    assert list(daemon.sent[0])[-2:] == ["index.json", "manifest.json"]


def test_a_refused_stream_ends_the_verification_beside_it(tmp_path, load, monkeypatch):
    def refuse(*arguments):
        raise ImageError("the engine is gone")

    said = []
    monkeypatch.setattr(bundle_load.ImageLoader, "load", refuse)
    monkeypatch.setattr(bundle_verify, "find_problems", lambda opened, tell, keep: said.append(wait_told(tell)) or [])
    with pytest.raises(ImageError, match="the engine is gone"):
        load(write_bundle(tmp_path / "dir"))
    assert said == ["the verification was stopped"]


def wait_told(tell):
    for _ in range(1000):
        try:
            tell(None)
        except BundleError as err:
            return err.message
        threading.Event().wait(0.01)
    return None


def test_another_machines_bundle_is_refused_before_anything_else(tmp_path, load, daemon):
    where = write_bundle(tmp_path / "dir", build_bundle(platform="linux/s390x"))
    (where / build_blob_path(sha256(LAYERS[0]))).unlink()
    with pytest.raises(BundleError, match="was saved on linux/s390x, and this machine is linux/"):
        load(where)
    assert list_changes(tmp_path) == set()


def test_a_file_that_says_something_else_is_left_alone(where, load, daemon, tmp_path):
    for name, text in (
        ("stack.toml", 'project = "other"\n'),
        ("stack.lock", 'schema_version = 1\n[model]\nid = "x/y"\n'),
    ):
        path = tmp_path / "to" / name
        path.write_text(text)
        with pytest.raises(BundleError, match=f"{name} is there already") as caught:
            load(where)
        assert "--force" in caught.value.hint and path.read_text() == text and daemon.sent == []
        load(where, force=True)
        assert path.read_text() != text and path.with_name(f"{name}.before").read_text() == text
        for item in (tmp_path / "to").iterdir():
            item.unlink()
        daemon.sent.clear()


def test_ones_own_settings_of_this_machine_stay(where, load, tmp_path):
    own = f'project = "mine"\n[model]\nid = "acme/tiny"\nvolume = "{tmp_path}/volume"\n'
    (tmp_path / "to/stack.toml").write_text(own)
    write_own_lock(tmp_path)
    load(where)
    assert (tmp_path / "to/stack.toml").read_text() == own
    assert list((tmp_path / "volume").rglob("snapshot.json"))


def test_no_room_is_told_before_anything_is_loaded(where, load, daemon, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(bundle_load.shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(BundleError, match="has 0.0 GB free, and about .* are needed") as caught:
        load(where)
    assert "nothing was loaded" in caught.value.hint and daemon.sent == []
    assert not (tmp_path / "to/stack.toml").exists()


@pytest.mark.parametrize("trust", [False, True])
def test_compile_caches_count_for_the_room_where_they_are_taken(load, tmp_path, monkeypatch, trust):
    asked = []
    monkeypatch.setattr(bundle_load, "_check_space", lambda *rest: asked.append(rest[-1]))
    load(write_bundle(tmp_path / "dir"), trust=trust)
    size = sum(map(len, CACHES.values())) if trust else 0
    assert asked[0][tmp_path / "home/.cache/stack/mine"] == size


def test_an_engine_that_refuses_leaves_the_rest_undone_and_the_next_load_goes_on(where, load, daemon, tmp_path):
    daemon.refuses = "no space left on device"
    with pytest.raises(ImageError, match="no space left"):
        load(where)
    assert not (tmp_path / "to/stack.toml").exists()
    daemon.refuses = None
    assert load(where).images == {"engine": IMAGE_ID}


def write_own_lock(tmp_path, **changes):
    """Write a stack.lock that names the bundle's model, as this machine knows it."""
    model = build_locked_model(build_bundle())
    files = {name: file.model_copy(update=changes) for name, file in model.files.items()}
    text = render_lock(Lock(model=model.model_copy(update={"files": files})))
    (tmp_path / "to/stack.lock").write_text(text)


HUB = {"reference": parse_model_reference("acme/tiny"), "revision": "0" * 40}


def test_a_strangers_hub_model_is_no_other_projects_model(where, load, tmp_path):
    volume = tmp_path / "home/.local/share/stack/models"
    load(where)
    assert find_snapshot(**HUB, volume=volume) is None and not (volume / "hub").exists()
    assert load_lock(tmp_path / "to/stack.lock").model is None
    # What a load wrote proves nothing to the next one.
    assert load(where).written == () and not (volume / "hub").exists()


def test_a_hub_model_that_ones_own_lock_names_file_by_file_is_everybodys(where, load, tmp_path):
    write_own_lock(tmp_path)
    load(where)
    volume = tmp_path / "home/.local/share/stack/models"
    snapshot = find_snapshot(**HUB, volume=volume)
    assert {record.name: (snapshot.path / record.name).read_bytes() for record in snapshot.files} == MODEL
    assert 'id = "acme/tiny"' in (tmp_path / "to/stack.toml").read_text() and not (volume / "carried").exists()


def test_a_hub_model_that_is_here_already_is_not_written_again(where, load, tmp_path):
    write_own_lock(tmp_path)
    load(where)
    (tmp_path / "to2").mkdir()
    load(where, to="to2", project="second")
    assert not (tmp_path / "home/.local/share/stack/models/carried").exists()
    assert load_lock(tmp_path / "to2/stack.lock").model.revision == "0" * 40


def test_a_directory_that_was_given_a_model_of_its_own_keeps_it_when_the_hubs_comes_too(where, load, tmp_path):
    load(where)
    before = (tmp_path / "to/stack.toml").read_text()
    for name in ("to", "to2"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "to2/stack.lock").write_text(render_lock(Lock(model=build_locked_model(build_bundle()))))
    load(where, to="to2", project="second")
    assert load(where).written == () and (tmp_path / "to/stack.toml").read_text() == before


@pytest.mark.parametrize("force", [False, True])
def test_a_model_that_ones_own_lock_contradicts_is_refused_whatever_else_agrees(where, load, tmp_path, daemon, force):
    write_own_lock(tmp_path, sha256="a" * 64)
    text = (tmp_path / "to/stack.lock").read_text()
    with pytest.raises(BundleError, match="not the one that .*to/stack.lock names") as caught:
        load(where, force=force)
    assert caught.value.hint and daemon.sent == [] and (tmp_path / "to/stack.lock").read_text() == text


def test_an_own_configuration_that_names_the_hubs_model_is_not_made_to_mean_the_bundles(where, load, tmp_path):
    (tmp_path / "to/stack.toml").write_text('project = "mine"\n[model]\nid = "acme/tiny"\n')
    with pytest.raises(BundleError, match="no stack.lock here names the files of acme/tiny"):
        load(where)


def test_a_projects_state_is_not_taken_over_by_another_directory(where, load, daemon, tmp_path):
    load(where)
    daemon.sent.clear()
    (tmp_path / "to2").mkdir()
    with pytest.raises(BundleError, match=f"project `mine` is here already, and is that of {tmp_path}/to") as caught:
        load(where, to="to2")
    assert "--project NAME" in caught.value.hint and not list((tmp_path / "to2").iterdir())
    loaded = load(where, to="to2", project="second")
    assert loaded.project == "second" and 'project = "second"' in (tmp_path / "to2/stack.toml").read_text()
    assert load(where, to="to2", project="second").written == ()
    assert load(where).written == ()


def test_a_state_of_which_no_directory_is_known_is_that_of_who_has_the_name_in_a_stack_toml(where, load, tmp_path):
    load(where)
    path = tmp_path / "home/.local/state/stack/mine/state.json"
    write_facts(path, replace(load_facts(path), directory=None))
    assert load(where).written == ()
    write_facts(path, replace(load_facts(path), directory=None))
    (tmp_path / "to2").mkdir()
    with pytest.raises(BundleError, match="is that of another directory"):
        load(where, to="to2")


def test_a_second_force_keeps_what_the_first_one_replaced(where, load, tmp_path):
    path = tmp_path / "to/stack.toml"
    for text in ('project = "own"\n', 'project = "own2"\n'):
        path.write_text(text)
        load(where, force=True)
    assert path.with_name("stack.toml.before").read_text() == 'project = "own"\n'
    assert path.with_name("stack.toml.before.2").read_text() == 'project = "own2"\n'


def test_a_stack_toml_that_is_no_text_is_an_error(where, load, tmp_path):
    (tmp_path / "to/stack.toml").write_bytes(b'project = "\xff"\n')
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(where)


@pytest.mark.parametrize("part", ["config", "lock"])
def test_a_bundles_text_that_is_no_text_is_an_error(tmp_path, load, monkeypatch, part):
    name = made.TEXTS[part][0]
    monkeypatch.setitem(made.TEXTS, part, (name, b'project = "\xff"\n'))
    with pytest.raises(BundleError, match=f"the {part} in .* is no UTF-8 text") as caught:
        load(write_bundle(tmp_path / "dir"))
    assert caught.value.hint


def test_a_bundles_value_that_no_key_takes_is_an_error(tmp_path, load, monkeypatch):
    monkeypatch.setitem(made.TEXTS, "config", ("stack.toml", b"project = 1979-05-27\n"))
    with pytest.raises(BundleError, match="holds what no key takes"):
        load(write_bundle(tmp_path / "dir"))


def test_a_target_below_a_file_is_refused_before_anything_is_loaded(where, load, tmp_path, daemon):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="file is no directory"):
        load(where, to="file/below")
    assert daemon.sent == []


def test_a_model_file_that_is_a_caches_too_is_landed(tmp_path, load, monkeypatch):
    monkeypatch.setattr(made, "CACHES", {"vllm/graph.bin": MODEL["config.json"]})
    load(write_bundle(tmp_path / "dir"))
    (found,) = (tmp_path / "home").rglob("carried/*/*/config.json")
    assert found.read_bytes() == MODEL["config.json"]


def test_a_disk_that_takes_a_part_of_what_it_is_given_gets_the_rest_too(tmp_path, load, monkeypatch):
    class Reluctant(io.FileIO):
        def write(self, data):
            return super().write(bytes(data)[:70_000])

    real = Path.open
    monkeypatch.setattr(
        bundle_model.Path,
        "open",
        lambda path, mode="r", *rest, **more: (
            Reluctant(path, mode)
            if more.get("buffering") == 0 and ".staging" in path.parts
            else real(path, mode, *rest, **more)
        ),
    )
    load(write_bundle(tmp_path / "dir"))
    (found,) = (tmp_path / "home").rglob("carried/*/*/sub/weights.safetensors")
    assert found.read_bytes() == MODEL["sub/weights.safetensors"]


def test_a_model_file_of_another_size_than_it_was_written_with_is_not_landed(tmp_path, load, monkeypatch):
    real = bundle_verify.find_problems

    def find(opened, report, keep):
        found = real(opened, report, keep)
        for path in (tmp_path / "home").rglob(".staging/*/" + sha256(MODEL["sub/weights.safetensors"])):
            flip(path, 0)
            os.truncate(path, 100)
        return found

    monkeypatch.setattr(bundle_verify, "find_problems", find)
    with pytest.raises(ModelError, match="came to 100 bytes on"):
        load(write_bundle(tmp_path / "dir"))
    assert not (tmp_path / "to/stack.toml").exists()


def test_a_model_of_the_same_revision_with_other_files_is_not_replaced(where, load, tmp_path):
    write_own_lock(tmp_path)
    load(where)
    manifest = next((tmp_path / "home").rglob("snapshot.json"))
    manifest.write_text(manifest.read_text().replace(sha256(b"{}"), "0" * 64))
    with pytest.raises(ModelError, match="with other files than the bundle's"):
        load(where)


def test_a_directory_becomes_one_of_the_volume_and_the_configuration_names_it(tmp_path, load):
    from stack.models.snapshot import FileRecord, build_content_revision
    from tests.unit.models.conftest import build_model_files

    files = build_model_files()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "MODEL", files)
        records = [FileRecord(name, len(body), sha256(body)) for name, body in files.items()]
        model = made.BundleModel(
            kind="directory", id="model", revision=build_content_revision(records), served_name="model"
        )
        where = write_bundle(tmp_path / "dir", build_bundle(model=model))
    load(where)
    place = tmp_path / "home/.local/share/stack/models/carried" / model.revision[7:] / "model"
    assert f'id = "{place}"' in (tmp_path / "to/stack.toml").read_text()
    found = find_snapshot(parse_model_reference(str(place)), revision=None, volume=place.parents[2])
    assert found.revision == model.revision and (place / "config.json").read_bytes() == files["config.json"]
    assert load(where).written == ()


def build_registry_image(config=CONFIG, entries=None):
    """Give a registry's manifest and index of an image, and what a bundle says of it."""
    manifest = json.dumps({"mediaType": MANIFEST_TYPE, "layers": [], "config": {
        "digest": f"sha256:{sha256(config)}", "size": len(config)}}).encode()  # fmt: skip
    index = json.dumps({"mediaType": INDEX_TYPE, "manifests": entries or [{"digest": f"sha256:{sha256(manifest)}"}]})
    proof = tuple(f"sha256:{sha256(body)}" for body in (index.encode(), manifest))
    said = BundleImage(
        service="engine", name="docker.io/vllm/vllm-openai:v9", digest=proof[0], image_id=IMAGE_ID,
        manifest=f"sha256:{sha256(made.build_manifest_body())}", proof=proof,
    )  # fmt: skip
    return said, [index.encode(), manifest]


def write_proved(where, said, bodies):
    files = [
        made.BundleFile(path=build_blob_path(sha256(body)), part="image", name="engine", size_bytes=len(body),
                        sha256=sha256(body))
        for body in bodies
    ]  # fmt: skip
    write_bundle(where)
    with open_writer(where) as writer:
        for body in bodies:
            writer.add_body(body)
        writer.finish(build_bundle(images=(said,), files=(*build_bundle().files, *files)))
    return where


def test_a_proved_digest_is_remembered_and_its_name_given_to_nobody(tmp_path, load, daemon):
    said, bodies = build_registry_image()
    load(write_proved(tmp_path / "dir", said, bodies))
    facts = load_facts(tmp_path / "home/.local/state/stack/mine/state.json")
    assert facts.image_ids == {f"docker.io/vllm/vllm-openai@{said.digest}": IMAGE_ID}
    assert list(daemon.tags) == [TAG]


@pytest.mark.parametrize("change", [
    lambda said, bodies: (said, [bodies[0], bodies[1].replace(b"layers", b"Layers")]),
    lambda said, bodies: build_registry_image(config=b"another"),
    lambda said, bodies: build_registry_image(entries=[{"digest": "sha256:" + "f" * 64}]),
    lambda said, bodies: (said.model_copy(update={"proof": ()}), bodies),
])  # fmt: skip
def test_a_digest_that_the_manifests_do_not_lead_to_is_refused(tmp_path, load, daemon, change):
    said, bodies = change(*build_registry_image())
    with pytest.raises(BundleError):
        load(write_proved(tmp_path / "dir", said, bodies))
    assert daemon.sent == [] and not (tmp_path / "to/stack.toml").exists()


def test_a_pinned_claim_must_be_accepted(tmp_path, load, daemon, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    lock = f'schema_version = 1\n[engine]\ncommit = "{commit}"\ncommit_level = "verified"\npinned = "{commit}"\n'
    monkeypatch.setitem(made.TEXTS, "lock", ("stack.lock", lock.encode()))
    where = write_bundle(tmp_path / "dir")
    with pytest.raises(BundleError, match=f"pins commit {commit}"):
        load(where)
    assert daemon.sent == []
    assert load(where, accept="claimed").level == "claimed"
    assert load_lock(tmp_path / "to/stack.lock").engine.accepted == "claimed"
    assert 'accept = "claimed"' in (tmp_path / "to/stack.toml").read_text()
    assert load(where).written == ()


def test_what_a_stranger_may_not_say_is_left_out_and_named(tmp_path, load, monkeypatch):
    text = b'project = "mine"\n[engine.mounts]\n"/x" = "/root/.ssh"\n[model]\nid = "acme/tiny"\nendpoint = "https://e.example"\n'
    monkeypatch.setitem(made.TEXTS, "config", ("stack.toml", text))
    loaded = load(write_bundle(tmp_path / "dir"))
    assert loaded.left_out == ('engine.mounts."/x"', "model.endpoint")
    written = (tmp_path / "to/stack.toml").read_text()
    assert "ssh" not in written and "example" not in written


def test_the_history_is_noted_once(tmp_path, load, monkeypatch):
    smoke = {"passed": True, "started_at": "then", "checks": {}}
    body = json.dumps({"schema_version": 1, "boots": [BOOT | {"model": "m", "smoke": smoke}]}).encode()
    monkeypatch.setitem(made.TEXTS, "history", ("history.json", body))
    where = write_bundle(tmp_path / "dir")
    load(where)
    load(where)
    (run,) = open_history(tmp_path / "home/.local/state/stack/mine/history.sqlite").list_runs("bundle")
    assert run.passed and run.report["boots"][0]["model"] == "m"
