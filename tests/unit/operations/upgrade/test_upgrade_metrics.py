"""What two engines export, in what that differs, and who of this stack needs what is gone."""

from pathlib import Path

from stack.operations.upgrade.measure import find_later_series, load_queries
from stack.operations.upgrade.metrics import (
    Metric,
    MetricChange,
    Query,
    build_inventory,
    compare_inventories,
    find_users,
    parse_rules,
)
from stack.telemetry.exposition import parse_exposition

FIXTURES = Path(__file__).parents[3] / "fixtures/metrics"
RULES = """
groups:
  - name: load  # record: none
    rules:
      - record: model:waiting:sum
        expr: sum by (model_name) (vllm:num_requests_waiting)
      # - record: model:commented:sum
      #   expr: vllm:commented
      - alert: Full
        expr: >-
          model:waiting:sum > 3 and
          vllm:kv_cache_usage_perc > 0.9
"""
PANEL = Query("dashboard overview: Waiting", "model:waiting:sum{model_name=~'$model'}")


def read(name):
    return build_inventory(parse_exposition((FIXTURES / name).read_text()))


def test_an_inventory_has_families_with_types_and_label_names():
    found = read("vllm-0.31.0.txt")
    assert found["vllm:num_requests_waiting"] == Metric("gauge", ("engine", "model_name"))
    assert found["vllm:request_success"] == Metric("counter", ("engine", "finished_reason", "model_name"))
    ttft = found["vllm:time_to_first_token_seconds"]
    assert (ttft.kind, ttft.labels) == ("histogram", ("engine", "le", "model_name"))
    assert ttft.bounds[:2] == (0.001, 0.005) and ttft.bounds[-1] == 2560.0
    assert not [name for name in found if name.endswith("_created")]


def test_the_inventories_of_two_releases_differ_in_what_came_and_nothing_of_ours_is_gone():
    changes = compare_inventories(read("vllm-0.31.0.txt"), read("vllm-0.32.0.txt"), load_queries())
    (came,) = [item for item in changes if item.name == "vllm:admission_rejections"]
    assert came.change == "appeared" and "alert VllmAdmissionRejecting" in came.users
    assert [item for item in changes if item.users and item.change != "appeared"] == []


def test_on_the_way_back_what_came_later_is_known_to_have_come_later():
    later = find_later_series("0.31.0")
    changes = compare_inventories(read("vllm-0.32.0.txt"), read("vllm-0.31.0.txt"), load_queries(), later)
    (gone,) = [item for item in changes if item.name == "vllm:admission_rejections"]
    assert (gone.change, gone.since) == ("gone", "0.32.0") and gone.users
    assert find_later_series(None) == {} and "vllm:admission_rejections_total" not in find_later_series("0.32.0")


def test_rules_are_read_without_their_comments():
    first, second = parse_rules(RULES)
    assert (first.user, first.records) == ("rule model:waiting:sum", "model:waiting:sum")
    assert (second.user, second.records) == ("alert Full", None)
    assert "kv_cache_usage_perc" in second.expr and "commented" not in first.expr + second.expr


def test_who_asks_through_a_rule_needs_the_metric_too():
    queries = [*parse_rules(RULES), PANEL]
    assert set(find_users("vllm:num_requests_waiting", queries)) == {"rule model:waiting:sum", "alert Full", PANEL.user}
    assert find_users("vllm:kv_cache_usage_perc", queries) == ("alert Full",)
    assert find_users("vllm:num_requests", queries) == (), "a name that only begins like it is another"


def test_a_metric_is_asked_for_by_the_names_of_its_series():
    queries = [
        Query("a", "rate(vllm:ttft_seconds_bucket[1m])"),
        Query("b", "vllm:tokens_total"),
        Query("c", "x:vllm:ttft"),
    ]
    assert find_users("vllm:ttft_seconds", queries) == ("a",)
    assert find_users("vllm:tokens", queries) == ("b",)
    assert find_users("vllm:ttft", queries) == ()


def test_what_is_gone_comes_first_and_names_its_users():
    old = {"vllm:num_requests_waiting": Metric("gauge", ("model_name",)), "same": Metric("gauge", ("a",))}
    new = {"new": Metric("counter"), "same": Metric("gauge", ("a",))}
    gone, appeared = compare_inventories(old, new, [PANEL, *parse_rules(RULES)])
    assert (gone.name, gone.change) == ("vllm:num_requests_waiting", "gone") and PANEL.user in gone.users
    assert appeared == MetricChange("new", "appeared", "counter")


def test_another_type_or_a_lost_label_matters_to_who_uses_it():
    old = {"m": Metric("gauge", ("a", "b")), "t": Metric("gauge", ("a",)), "empty": Metric("gauge")}
    new = {"m": Metric("gauge", ("a", "c")), "t": Metric("counter", ("a",)), "empty": Metric("gauge", ("a",))}
    queries = [Query("by b", "sum by (b) (m)"), Query("by a", "sum by (a) (m)"), Query("other", "t")]
    labels, kind = compare_inventories(old, new, queries)
    assert (labels.change, labels.said, labels.users) == ("labels", "without `b`, with `c`", ("by b",))
    assert (kind.change, kind.said, kind.users) == ("type", "gauge, now counter", ("other",))


def test_a_bucket_that_is_gone_matters_to_who_asks_for_its_bound():
    old, new = Metric("histogram", ("le",), (0.5, 1.0, 2.5)), Metric("histogram", ("le",), (1.0, 2.5, 5.0))
    queries = [
        Query("share below", "rate(h_bucket{le='0.5'}[5m])"),
        Query("share of another", 'rate(h_bucket{le="1"}[5m])'),
        Query("another histogram", 'rate(i_bucket{le="0.5"}[5m])'),
    ]
    (change,) = compare_inventories({"h": old}, {"h": new}, queries)
    assert (change.change, change.said, change.users) == ("bounds", "without `0.5`, with `5`", ("share below",))
