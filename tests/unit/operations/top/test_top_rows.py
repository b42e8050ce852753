from __future__ import annotations

from dataclasses import replace

import pytest

from stack.operations.top.place import Runs
from stack.operations.top.rows import build_rows, fit_height
from stack.operations.top.run import Alerts, Silence
from stack.operations.top.sections import Row, lay_out
from stack.telemetry.exposition import Exposition, Sample
from stack.telemetry.live import build_live
from tests.unit.operations.top.top_frames import AT, FIRING, GPU, PENDING, RUNS, build_busy, build_frame
from tests.unit.telemetry.diagnosis.pages import BASE, DEFERRED, build_page, drop, relabel

EVERYTHING = {"gpus": (GPU, replace(GPU, index=1, slowdowns=("the power limit",))), "alerts": Alerts((FIRING, PENDING))}


def texts(frame, width=80, height=None):
    return [row.text for row in build_rows(frame, width, height)]


def find(frame, start, width=80):
    return next(text for text in texts(frame, width) if text.startswith(start))


def test_a_busy_engine_fits_a_terminal_of_80_by_24():
    frame = build_frame(alerts=Alerts((FIRING, PENDING)), gpus=(GPU,))
    assert (
        texts(frame, 80, 24)
        == """\
stack top  demo                                                     08:44:49 UTC
vLLM 0.32.0, commit 0123456789ab (verified), cuda, up 365 d 14 h
acme/tiny @ 89abcdef0123, served as `production`
smoke passed 30 min ago
alerts 1 firing, 1 pending
  VllmQueueGrowing (warning, for 10 min): the queue does not drain

now, and per second over the last 2.0 s
requests   running            12  waiting             0  ended/s           4.0
           stop/s            4.0  length/s          0.0  abort/s           0.0
           error/s           0.0
tokens     generated/s     420.0  prompt/s        2,500
KV cache   [####......]   43.2 %  of tokens      46,592  preempted/s       0.0
           prefix hits         -  hits so far    57.7 %

                                last 2.0 s                         since start
            p50      p95      p99   events      p50      p95      p99   events
TTFT          -        -        -        0    55 ms   227 ms   245 ms        3
ITL       88 ms   100 ms   140 ms      840    87 ms   100 ms   138 ms      933
E2E           -        -        -        0   725 ms   970 ms   994 ms        3
queue         -        -        -        0   150 ms   285 ms   297 ms        3

GPU 0      98.0 %   21.3 of 25.8 GB  412 of 450 W   67 C  NVIDIA GeForce RTX ...
""".splitlines()
    )


@pytest.mark.parametrize("width", [20, 40, 59, 60, 79, 80, 81, 100, 120, 200])
@pytest.mark.parametrize("height", [6, 24, 40])
@pytest.mark.parametrize("engines", [1, 3])
def test_no_row_is_longer_than_the_terminal_and_no_view_higher(width, height, engines):
    frame = build_frame(**EVERYTHING, live=build_busy(engines=engines))
    rows = texts(frame, width, height)
    assert max(map(len, rows)) <= width
    assert len(rows) <= height


def test_what_others_name_with_line_feeds_is_one_row():
    torn = "a\nb\tc\r\n\n  d"
    alert = replace(FIRING, summary=torn)
    pages = [Exposition(relabel(build_page(BASE, {}), engine=number, model_name=torn), {}) for number in "01"]
    both = Exposition(pages[0].samples + pages[1].samples, BASE.types)
    frame = build_frame(
        live=build_live(both, both, 2.0), runs=replace(RUNS, model=torn, served_name=torn), alerts=Alerts((alert,))
    )
    assert all(not set("\n\r\t") & set(text) for text in texts(frame))
    assert "  VllmQueueGrowing (warning, for 10 min): a b c d" in texts(frame)
    assert find(frame, "a b c d @")
    assert max(map(len, texts(frame, 40, 24))) <= 40


def test_a_narrow_terminal_gets_as_many_rows_with_fewer_columns():
    wide, narrow = texts(build_frame(), 80), texts(build_frame(), 45)
    assert len(narrow) == len(wide)
    assert find(build_frame(), "ITL", 45).split() == ["ITL", "88", "ms", "100", "ms", "140", "ms", "840"]
    assert find(build_frame(), "ITL", 30).split() == ["ITL", "88", "ms", "100", "ms"]
    assert any("running" in text for text in narrow)


def test_cells_flow_into_as_many_columns_as_there_is_room_for():
    cells = [("running", "1"), ("waiting", "2"), ("ended/s", "3"), ("stop/s", "4")]
    assert [len(row.split()) for row in lay_out("requests", cells, 80)] == [7, 2]
    assert [len(row.split()) for row in lay_out("requests", cells, 120)] == [9]
    assert [len(row.split()) for row in lay_out("requests", cells, 57)] == [5, 4]
    assert lay_out("requests", cells, 35) == ["requests   running             1", "           waiting             2"]


def test_what_has_no_room_below_is_told():
    rows = [Row("one"), Row(""), Row("two"), Row(""), Row("three")]
    assert fit_height(rows, None) == fit_height(rows, 5) == rows
    assert [row.text for row in fit_height(rows, 4)] == ["one", "", "two", "three"]
    assert [row.text for row in fit_height(rows, 3)] == ["one", "two", "three"]
    assert [row.text for row in fit_height(rows, 2)] == [
        "one", "... 2 more rows; a taller terminal or --json shows them",
    ]  # fmt: skip


def test_the_first_look_has_no_rates_and_says_so():
    frame = build_frame(live=build_live(None, BASE, 0.0))
    assert "now; rates come with the next look" in texts(frame)
    assert find(frame, "tokens") == "tokens     generated/s         -  prompt/s            -"
    assert find(frame, "TTFT").split()[1:5] == ["-"] * 4
    assert "since start" in find(frame, "            ")


def test_several_engines_have_a_row_each_and_are_added_up():
    frame = build_frame(live=build_busy(engines=3))
    assert find(frame, "smollm2 #0", 120).split()[2:7] == ["12", "0", "43.2", "%", "2,500"]
    assert find(frame, "another-model-with-a-name-2 #2", 120)
    assert "..r-model-with-a-name-2 #2" in find(frame, "..r-model-with-a-name-2", 80)
    assert find(frame, "KV fullest").startswith("KV fullest [####......]   43.2 %  tokens in all")
    assert find(frame, "requests").split()[2] == "36"


def test_an_engine_that_is_silent_is_told_with_since_when_and_why():
    frame = build_frame(live=None, silence=Silence(AT, "its container is exited with 137"))
    assert texts(frame)[4:] == [
        "engine does not answer since 08:44:49: its container is exited with 137", "alerts none firing",
    ]  # fmt: skip
    assert build_rows(frame, 80)[4].tone == "bad"


def test_a_restart_another_service_and_a_sleeping_engine_are_told():
    restarted = build_live(BASE, build_page(BASE, {"process_start_time_seconds": 1.8e9}), 2.0)
    assert "engine was started anew since the last look; measuring" in texts(build_frame(live=restarted))
    other = build_live(None, drop(BASE, *(name for name in BASE.names if name.startswith("vllm:"))), 0.0)
    assert any(text.startswith("the page has none of vLLM's metrics") for text in texts(build_frame(live=other)))
    asleep = build_live(None, build_page(BASE, {'vllm:engine_sleep_state{sleep_state="awake"}': 0}), 0.0)
    assert "engine sleeps" in texts(build_frame(live=asleep))


def test_deferred_requests_and_refusals_are_told_once_there_are_some():
    assert not any("deferred" in text or "HTTP" in text for text in texts(build_frame()))
    refused = Sample("http_requests_total", {"status": "4xx"}, 7)
    page = Exposition((*build_page(BASE, {DEFERRED: 2}).samples, refused), BASE.types)
    told = "\n".join(texts(build_frame(live=build_live(page, page, 2.0))))
    assert "deferred            2" in told
    assert "HTTP 4xx/s" in told


def test_an_engine_named_by_its_address_tells_what_its_page_tells():
    frame = build_frame(runs=Runs(version="0.32.0"), alerts=Alerts(None, "no `--prometheus` is named"))
    assert texts(frame)[:4] == [
        "stack top  http://127.0.0.1:8000                                    08:44:49 UTC",
        "vLLM 0.32.0, up 365 d 14 h",
        "smollm2",
        "alerts not known: no `--prometheus` is named",
    ]


def test_a_smoke_that_failed_or_was_not_run_is_told():
    assert "smoke FAILED 30 min ago" in texts(build_frame(runs=replace(RUNS, smoke_passed=False)))
    assert "smoke not run since the boot" in texts(build_frame(runs=replace(RUNS, smoke_passed=None, smoke_at=None)))


def test_what_holds_a_gpu_down_stands_where_its_name_was():
    frame = build_frame(gpus=(replace(GPU, slowdowns=("the power limit",), temperature_celsius=None),))
    assert find(frame, "GPU 0").endswith("412 of 450 W      -  slow: the power limit")
    assert not any(text.startswith("GPU") for text in texts(build_frame()))


def test_alerts_beyond_the_room_are_counted():
    many = Alerts((FIRING,) * 5)
    assert "  and 2 more" in texts(build_frame(alerts=many), height=24)
    assert "  and 2 more" not in texts(build_frame(alerts=many), height=40)
    assert "alerts none firing, 1 pending" in texts(build_frame(alerts=Alerts((PENDING,))))
