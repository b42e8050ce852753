from stack.config.show import render_config

TOML = """\
project = "mine"
[engine]
device = "cpu"
devices = "all"
[engine.args]
max-model-len = 4096
compilation-config = { mode = 3 }
[engine.mounts]
"/templates" = "t"
[services.engine]
cpus = 1.5
[[smoke.canaries]]
prompt = "a"
right = "b"
wrong = ["c"]
"""


def test_what_is_shown_sets_the_same(load):
    loaded = load(TOML)
    assert load(render_config(loaded)).config == loaded.config
    assert load(render_config(loaded, with_origin=True)).config == loaded.config


def test_each_value_says_where_it_came_from(load):
    text = render_config(load(TOML, {"STACK_IMAGES_RETRIES": "2"}, {"project": "flag"}), with_origin=True)
    for line in (
        'project = "flag"  # --project',
        'device = "cpu"  # stack.toml:3',
        "retries = 2  # STACK_IMAGES_RETRIES",
        "# commit is unset, default",
        "max-model-len = 4096  # stack.toml:6",
        "cpus = 1.5  # stack.toml:11",
        "concurrency = 8  # default",
    ):
        assert f"\n{line}\n" in f"\n{text}"
