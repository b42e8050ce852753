import pytest

from stack.config.keys import build_key_index
from stack.config.text_values import parse_arg_text, parse_text


def _key(dotted):
    return build_key_index()[tuple(dotted.split("."))]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("smoke.enabled", "no", False),
        ("smoke.enabled", "TRUE", True),
        ("smoke.enabled", "maybe", "maybe"),
        ("images.retries", "7", 7),
        ("images.retries", "7.5", "7.5"),
        ("images.timeout-seconds", "7.5", 7.5),
        ("images.timeout-seconds", "7", 7),
        ("services.engine.port", "auto", "auto"),
        ("services.engine.port", "8001", 8001),
        ("engine.devices", "2", 2),
        ("engine.devices", "0,1", ["0", "1"]),
        ("engine.devices", '["0"]', ["0"]),
        ("engine.devices", "all", "all"),
        ("project", "123", "123"),
        ("model.revision", "1.0", "1.0"),
        ("smoke.texts", '["a, b"]', ["a, b"]),
    ],
)
def test_text_becomes_the_type_of_its_key(key, text, value):
    parsed = parse_text(_key(key), text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize("text", ["a, b", "[", '{"a": 1}'])
def test_a_list_is_json(text):
    with pytest.raises(ValueError, match="must be a JSON list"):
        parse_text(_key("smoke.texts"), text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2048", 2048),
        ("-1", -1),
        ("0.9", 0.9),
        ("true", True),
        ("8k", "8k"),
        ("1e3", "1e3"),
        ("True", "True"),
        ('{"a": 1}', {"a": 1}),
        ("[1, 2]", [1, 2]),
        ("[broken", "[broken"),
        ("9" * 30, "9" * 30),
    ],
)
def test_an_engine_arg_is_a_number_a_truth_value_json_or_text(text, value):
    parsed = parse_arg_text(text)
    assert (parsed, type(parsed)) == (value, type(value))
