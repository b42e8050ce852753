import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            f'engine.commit = "{COMMIT}"\nengine.version = "0.32.0"',
            "engine.version: `engine.commit` already says which vLLM runs; take one of the two away (0.32.0) "
            "(stack.toml:2)",
        ),
        (
            'engine.image = "a/b:1"\nengine.version = "0.32.0"',
            "engine.version: `engine.image` already says which vLLM runs; to demand what it holds write "
            "`engine.commit` (stack.toml:2)",
        ),
        (
            'engine.image = "a/b:1"\nimages.source = "packages"',
            'engine.image: names an image, and `images.source = "packages"` builds one; take one of the two '
            "away (stack.toml:1)",
        ),
        (
            'engine.device = "cpu"\nengine.devices = 2',
            "engine.devices: chooses GPUs, and `engine.device` is `cpu`; take one of the two away (stack.toml:2)",
        ),
        (
            'engine.device = "cpu"\nengine.args.tensor-parallel-size = 2',
            "engine.args.tensor-parallel-size: 2 needs that many GPUs, and `engine.device` is `cpu` (stack.toml:2)",
        ),
        (
            'model.revision = "main"',
            "model.revision: `main` is a revision of no model; write `model.id` too (stack.toml:1)",
        ),
        (
            'model.id = "demo"\nmodel.revision = "main"',
            "model.revision: the demo model has one revision only; take `model.revision` away (stack.toml:2)",
        ),
        (
            'model.id = "./m"\nmodel.revision = "main"',
            "model.revision: a directory has no revisions; take `model.revision` away (stack.toml:2)",
        ),
        (
            'services.gateway.certificate-file = "/c.pem"',
            "services.gateway.certificate-key-file: is missing beside `services.gateway.certificate-file`: "
            "a certificate and its key go together",
        ),
        (
            'services.gateway.certificate-key-file = "/k.pem"',
            "services.gateway.certificate-file: is missing beside `services.gateway.certificate-key-file`: "
            "a certificate and its key go together",
        ),
        (
            "services.gateway.expose = true\nengine.api-key = false",
            "engine.api-key: an exposed engine always demands its key; write true or leave the key away (stack.toml:2)",
        ),
        (
            "services.engine.port = 8000\nservices.grafana.port = 8000",
            'services.grafana.port: 8000 is already `services.engine.port`; take another port or "auto" (stack.toml:2)',
        ),
    ],
)
def test_keys_that_contradict_are_refused(problems, toml, message):
    assert problems(toml) == message


@pytest.mark.parametrize(
    "toml",
    [
        f'engine.commit = "{COMMIT}"\nengine.image = "a/b:1"',
        'model.id = "org/name"\nmodel.revision = "main"',
        'services.gateway.expose = true\nservices.gateway.address = "127.0.0.1"',
        'services.gateway.expose = true\nengine.api-key = true\nservices.gateway.address = "::1"',
        'services.gateway.expose = true\nservices.gateway.certificate-file = "/c.pem"\n'
        'services.gateway.certificate-key-file = "/k.pem"',
        "services.engine.port = 8000\nservices.grafana.port = 8000\nservices.grafana.enabled = false",
        'engine.device = "cpu"',
    ],
)
def test_keys_that_go_together_are_taken(load, toml):
    assert load(toml).warnings == ()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "services.prometheus.enabled = false",
            "services.prometheus.enabled: without Prometheus every panel of Grafana stays empty (stack.toml:1)",
        ),
        (
            'engine.device = "cpu"\nservices.dcgm-exporter.enabled = true',
            "services.dcgm-exporter.enabled: has no effect: `engine.device` is `cpu` (stack.toml:2)",
        ),
        (
            "services.gateway.expose = true",
            "services.gateway.certificate-file: without TLS the key and all prompts cross the network readable; "
            "write a certificate and its key",
        ),
        (
            "engine.args.enable-log-outputs = true",
            "engine.args.enable-log-outputs: vLLM writes every answer into its log, which is kept (stack.toml:1)",
        ),
        (
            'engine.args.enable-log-requests = true\nengine.env.VLLM_LOGGING_LEVEL = "debug"',
            "engine.args.enable-log-requests: at log level DEBUG vLLM writes every prompt into its log, which is kept; "
            "at INFO only ids (stack.toml:1)",
        ),
        (
            "services.gateway.port = 8080",
            "services.gateway.port: has no effect without `services.gateway.expose = true`: nothing is "
            "exposed (stack.toml:1)",
        ),
    ],
)
def test_a_key_without_effect_is_a_warning(load, toml, message):
    assert [str(warning) for warning in load(toml).warnings] == [message]


def test_the_ids_of_requests_in_the_log_are_nothing_to_warn_of(load):
    assert not load("engine.args.enable-log-requests = true").warnings


@pytest.mark.parametrize(
    ("toml", "path"),
    [
        ("services.prometheus.enabled = false\nservices.grafana.enabled = false\nservices.alertmanager.enabled = true",
         "services.alertmanager.enabled"),
        ('services.alertmanager.webhook-url-file = "x"', "services.alertmanager.webhook-url-file"),
    ],
)  # fmt: skip
def test_an_alertmanager_that_hears_or_is_told_nothing_is_warned_of(load, toml, path):
    assert [str(warning.path) for warning in load(toml).warnings] == [path]
