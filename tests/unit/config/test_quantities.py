import pytest

from stack.config.quantities import parse_duration_seconds, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512", 512),
        ("1k", 1024),
        ("512m", 512 * 2**20),
        ("8g", 8 * 2**30),
        ("2GB", 2 * 2**30),
        ("1.5GiB", 3 * 2**29),
    ],
)
def test_a_size_is_read_with_binary_units(text, size_bytes):
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "g", "8 gigs", "-1g", "8gg"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15d", 15 * 86400), ("1h30m", 5400), ("2w", 14 * 86400), ("500ms", 0.5), ("1y", 31_536_000)],
)
def test_a_duration_is_read_as_prometheus_reads_it(text, seconds):
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "d", "30m1h", "1.5h", "15 d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration_seconds(text)
