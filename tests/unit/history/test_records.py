import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.history.records import PhaseDelta, baseline_key, boot_kind, compare_phases

FACTS = {
    "image_id": "sha256:1",
    "model": "org/name",
    "revision": "abc",
    "args": {"a": 1, "b": "x"},
    "device": "cpu",
}


def test_the_order_of_engine_args_does_not_change_the_kind():
    assert boot_kind(**FACTS) == boot_kind(**FACTS | {"args": {"b": "x", "a": 1}})


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "sha256:2"},
        {"model": "org/other"},
        {"revision": None},
        {"args": {"a": 2}},
        {"device": "cuda"},
    ],
)
def test_any_other_image_model_revision_args_or_device_is_another_kind(change):
    assert boot_kind(**FACTS) != boot_kind(**FACTS | change)


def test_baselines_of_two_numeric_modes_have_different_keys():
    facts = {"model": "m", "revision": "r", "device": "cpu"}
    assert baseline_key(**facts, dtype="bfloat16") != baseline_key(**facts, dtype="float32")


def test_parts_of_a_baseline_key_cannot_run_into_one_another():
    first = baseline_key(model='a","b', revision="c", dtype="d", device="cpu")
    assert first != baseline_key(model="a", revision='b","c', dtype="d", device="cpu")


def test_phases_of_two_boots_are_compared_in_the_order_of_the_current_one():
    assert compare_phases({"load": 3.0, "compile": 80.0}, {"compile": 40.0, "load": 6.0}) == [
        PhaseDelta("load", 3.0, 6.0),
        PhaseDelta("compile", 80.0, 40.0),
    ]


def test_a_phase_that_only_one_boot_has_stands_alone():
    assert compare_phases({"graphs": 2.0}, {"compile": 40.0}) == [
        PhaseDelta("graphs", 2.0, None),
        PhaseDelta("compile", None, 40.0),
    ]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e6)),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1e6)),
)
def test_every_phase_of_either_boot_is_told_exactly_once(current, previous):
    told = [delta.phase for delta in compare_phases(current, previous)]
    assert sorted(told) == sorted({*current, *previous})
