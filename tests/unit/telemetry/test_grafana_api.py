from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from stack.assets import asset_path
from stack.errors import ServiceApiError
from stack.telemetry.grafana_api import Annotation, DashboardHit, DatasourceHealth, GrafanaApi

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "correct horse"


def load_stub():
    path = ROOT / "tests" / "fixtures" / "fake_grafana.py"
    spec = importlib.util.spec_from_file_location("stub_of_grafana", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


STUB = load_stub()


@pytest.fixture
def grafana():
    fake = STUB.FakeGrafana(password=PASSWORD)
    fake.add_dashboards(ROOT / "grafana" / "dashboards")
    fake.datasources["prometheus"] = None
    return fake


def make_api(fake, password=PASSWORD) -> GrafanaApi:
    def handle(request: httpx2.Request) -> httpx2.Response:
        target = request.url.raw_path.decode()
        status, document = fake.answer(request.method, target, request.headers.get("Authorization"), request.read())
        return httpx2.Response(status, json=document)

    client = httpx2.Client(transport=httpx2.MockTransport(handle))
    return GrafanaApi(client, "http://127.0.0.1:3000/", user="admin", password=password)


def answer_with(response: httpx2.Response) -> GrafanaApi:
    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: response))
    return GrafanaApi(client, "http://g", user="admin", password=PASSWORD)


def test_health_needs_no_password(grafana):
    health = make_api(grafana, "wrong").fetch_health()
    assert (health.database, health.version) == ("ok", "13.2.3")


def test_a_grafana_without_its_database_is_not_ready(grafana):
    assert make_api(grafana).is_ready()
    grafana.database = "failing"
    assert not make_api(grafana).is_ready()


def test_a_grafana_that_does_not_answer_is_not_ready():
    def refuse(request):
        raise httpx2.ConnectError("connection refused")

    client = httpx2.Client(transport=httpx2.MockTransport(refuse))
    assert not GrafanaApi(client, "http://g", user="admin", password="x").is_ready()


def test_every_provisioned_dashboard_is_found(grafana):
    found = make_api(grafana).fetch_dashboards()
    assert DashboardHit("overview", "Overview", "/d/overview/overview") in found
    assert sorted(hit.uid for hit in found) == sorted(
        path.stem for path in asset_path("grafana", "dashboards").glob("*")
    )


def test_a_dashboard_comes_with_its_model_and_meta(grafana):
    answer = make_api(grafana).fetch_dashboard("overview")
    assert answer["dashboard"]["uid"] == "overview"
    assert answer["meta"]["provisioned"] is True


def test_a_missing_dashboard_is_an_error_that_names_the_url(grafana):
    with pytest.raises(ServiceApiError, match=r"/api/dashboards/uid/nope: HTTP 404 .*Dashboard not found"):
        make_api(grafana).fetch_dashboard("nope")


def test_a_data_source_that_does_not_work_is_a_result(grafana):
    working = make_api(grafana).fetch_datasource_health("prometheus")
    assert working == DatasourceHealth("OK", "Successfully queried the Prometheus API.")
    assert working.is_ok
    grafana.datasources["prometheus"] = "dial tcp: connection refused"
    broken = make_api(grafana).fetch_datasource_health("prometheus")
    assert broken == DatasourceHealth("ERROR", "dial tcp: connection refused")
    assert not broken.is_ok


def test_a_bad_request_that_is_not_about_health_is_an_error():
    with pytest.raises(ServiceApiError, match="unknown shape"):
        answer_with(httpx2.Response(400, json={"message": "bad uid"})).fetch_datasource_health("x y")


def test_a_missing_data_source_is_an_error(grafana):
    with pytest.raises(ServiceApiError, match="HTTP 404"):
        make_api(grafana).fetch_datasource_health("loki")


def test_an_annotation_that_was_written_is_read_back_by_its_tags(grafana):
    api = make_api(grafana)
    number = api.create_annotation("boot", tags=["stack", "boot"], start_seconds=1700000000.5)
    api.create_annotation("smoke", tags=["stack", "smoke"], start_seconds=1700000100, end_seconds=1700000107)
    assert api.fetch_annotations(tags=["stack", "boot"]) == (
        Annotation(number, "boot", ("stack", "boot"), 1700000000.5, 1700000000.5),
    )
    assert [note.text for note in api.fetch_annotations(tags=["stack"])] == ["smoke", "boot"]
    assert api.fetch_annotations(tags=["stack"], limit=1)[0].end_seconds == 1700000107


def test_an_annotation_without_an_end_reads_as_a_moment():
    item = {"id": 1, "text": "boot", "tags": None, "time": 1000, "timeEnd": 0}
    assert answer_with(httpx2.Response(200, json=[item])).fetch_annotations() == (Annotation(1, "boot", (), 1.0, 1.0),)


def test_a_refused_password_says_so_and_shows_no_password(grafana):
    with pytest.raises(ServiceApiError) as caught:
        make_api(grafana, "stolen-secret").fetch_dashboards()
    assert "refuses our password" in caught.value.message
    assert caught.value.hint
    assert "stolen-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx2.Response(200, text="<html>login</html>"), "HTTP 200 without JSON"),
        (httpx2.Response(200, json={"not": "a list"}), "unknown shape"),
        (httpx2.Response(200, json=[{"title": "no uid"}]), "unknown shape"),
        (httpx2.Response(502, text="Bad\n\nGateway"), r"HTTP 502 \(Bad Gateway\)"),
    ],
)
def test_an_answer_that_is_not_grafanas_is_an_error(response, said):
    with pytest.raises(ServiceApiError, match=said):
        answer_with(response).fetch_dashboards()


def test_the_stub_serves_over_http_too(grafana):
    server = STUB.make_server(grafana, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with httpx2.Client(trust_env=False) as client:
            api = GrafanaApi(client, url, user="admin", password=PASSWORD)
            assert api.is_ready()
            assert api.create_annotation("x", tags=["stack"], start_seconds=1) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
