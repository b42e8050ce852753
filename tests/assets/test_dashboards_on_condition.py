"""What no engine and no board of ours has is made up, for two of each: every panel that waits for it shows it."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from stack.assets import asset_path
from tests.assets.rule_files import find_promtool
from tests.fixtures.panels import load_panels, name_panel

SAMPLES = 100
NVIDIA = 'instance="d",job="dcgm",gpu="{}",UUID="GPU-{}",modelName="RTX"'
AMD = 'instance="a",gpu_id="{}",card_model="MI300X"'
ENGINE = 'instance="engine-{}",job="vllm",model_name="m",engine="0"'
WAITED_FOR = {
    "No GPU", "Not on this GPU", "Not judged yet", "No LoRA", "No speculative decoding", "No KV block metrics",
    "No tool call parser", "Not of this version", "Nothing running", "No Grafana", "No alert", "Stays",
}  # fmt: skip
BOUNDS = {
    "vllm:time_to_first_token_seconds": "2.5",
    "vllm:inter_token_latency_seconds": "0.2",
    "vllm:e2e_request_latency_seconds": "60.0",
    "vllm:kv_block_lifetime_seconds": "10.0",
    "vllm:kv_block_idle_before_evict_seconds": "10.0",
}
# Name and further labels -> the value at first, and what each sample adds.
BOARD_SERIES = {
    "DCGM_FI_DEV_GPU_UTIL": (98, 0), "DCGM_FI_DEV_FB_USED": (2048, 0), "DCGM_FI_DEV_FB_FREE": (1024, 0),
    "DCGM_FI_DEV_POWER_USAGE": (310, 0), "DCGM_FI_DEV_POWER_MGMT_LIMIT": (350, 0), "DCGM_FI_DEV_GPU_TEMP": (71, 0),
    "DCGM_FI_DEV_SM_CLOCK": (2400, 0), "DCGM_FI_DEV_THERMAL_VIOLATION": (0, 10**9),
    "DCGM_FI_DEV_POWER_VIOLATION": (0, 10**9), 'DCGM_EXP_CLOCK_EVENTS_COUNT;clock_event="sw_power_cap"': (1, 0),
    "DCGM_FI_DEV_XID_ERRORS": (0, 0), "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": (0, 0), "DCGM_FI_DEV_ROW_REMAP_FAILURE": (0, 0),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": (0, 0), "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": (0, 1),
    "stack_gpu_ready_free_bytes": (2**30, 0),
}  # fmt: skip
AMD_SERIES = {"amd_gpu_ecc_uncorrect_total": (0, 0), "amd_pcie_replay_count": (0, 0)}
ENGINE_SERIES = {
    "vllm:num_requests_running": (3, 0), "vllm:kv_cache_usage_perc": (0.5, 0),
    'vllm:admission_rejections_total;reason="max_num_queued_reqs"': (0, 1),
    'vllm:request_success_total;finished_reason="stop"': (0, 10),
    'vllm:request_success_total;finished_reason="error"': (0, 1),
    'vllm:lora_requests_info;max_lora="2",running_lora_adapters="a",waiting_lora_adapters=""': (1.7e9, 0),
    "vllm:spec_decode_num_drafts_total": (0, 10), "vllm:spec_decode_num_draft_tokens_total": (0, 30),
    "vllm:spec_decode_num_accepted_tokens_total": (0, 20),
    'vllm:spec_decode_num_accepted_tokens_per_pos_total;position="0"': (0, 10),
    'vllm:tool_call_parser_invocations_total;mode="auto",outcome="ok",request_type="chat"': (0, 1),
    **{f'{name}_bucket;le="{bound}"': (0, 8) for name, bound in BOUNDS.items()},
    **{f'{name}_bucket;le="+Inf"': (0, 10) for name in BOUNDS},
    **{f"{name}_count": (0, 10) for name in BOUNDS},
}  # fmt: skip
OTHERS = {
    'grafana_http_request_duration_seconds_count{job="grafana",status_code="200"}': (0, 1),
    'ALERTS{alertname="A",severity="warning",alertstate="firing"}': (1, 0),
    'stack_image_expiry_timestamp_seconds{instance="node-exporter",reference="r"}': (1e5, 0),
}


def build_series() -> list[dict[str, str]]:
    named = dict(OTHERS)
    for which in "12":
        for series, labels in ((BOARD_SERIES, NVIDIA), (AMD_SERIES, AMD), (ENGINE_SERIES, ENGINE)):
            for key, shape in series.items():
                name, _, more = key.partition(";")
                named[f"{name}{{{','.join(filter(None, (labels.format(which, which), more)))}}}"] = shape
    return [{"series": name, "values": f"{first}+{step}x{SAMPLES}"} for name, (first, step) in named.items()]


QUERIES = [(name_panel(query), query.expr) for query in load_panels() if query.no_value in WAITED_FOR]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> str:
    """What promtool says where each query must give at least one number."""
    checks = [
        {
            "expr": f"clamp_max(count(({expr}) >= -Inf), 1)",
            "eval_time": "24m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for _, expr in QUERIES
    ]
    case = {"interval": "15s", "input_series": build_series(), "promql_expr_test": checks}
    rules = [str(path) for path in sorted(asset_path("prometheus", "rules").glob("*.yaml")) if path.stem != "alerts"]
    document = {"rule_files": rules, "evaluation_interval": "15s", "tests": [case]}
    path = tmp_path_factory.mktemp("condition") / "test.yaml"
    path.write_text(yaml.safe_dump(document, width=100000))
    done = subprocess.run([find_promtool(), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert "SUCCESS" in done.stdout or "expr:" in done.stdout + done.stderr, done.stdout + done.stderr
    return (done.stdout + done.stderr).replace('\\"', '"')


@pytest.mark.parametrize(("name", "expr"), QUERIES, ids=[name for name, _ in QUERIES])
def test_a_panel_that_waits_for_it_shows_it(told, name, expr):
    assert f"count(({expr}) >= -Inf)" not in told, name


def test_every_word_is_of_some_panel():
    assert {query.no_value for query in load_panels()} >= WAITED_FOR
