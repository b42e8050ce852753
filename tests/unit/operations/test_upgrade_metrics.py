"""What two engines export, in what that differs, and who of this stack needs what is gone."""

from pathlib import Path

from stack.operations.upgrade_measure import load_queries
from stack.operations.upgrade_metrics import (
    Metric,
    MetricChange,
    Query,
    build_inventory,
    compare_inventories,
    find_users,
    parse_rules,
)
from stack.telemetry.exposition import parse_exposition

FIXTURES = Path(__file__).parents[2] / "fixtures/metrics"
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
    assert found["vllm:time_to_first_token_seconds"] == Metric("histogram", ("engine", "le", "model_name"))
    assert not [name for name in found if name.endswith("_created")]


def test_the_inventories_of_two_releases_differ_in_what_came_and_nothing_of_ours_is_gone():
    changes = compare_inventories(read("vllm-0.31.0.txt"), read("vllm-0.32.0.txt"), load_queries())
    assert ("vllm:admission_rejections", "appeared") in [(item.name, item.change) for item in changes]
    assert [item for item in changes if item.users] == []


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
