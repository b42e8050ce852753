"""The stack that is measured: one project of `speed.py` with its observability services."""

from __future__ import annotations

import time
from typing import Any

import docker
import httpx2
from docker.models.containers import Container
from speed import Bench

from stack.containers.activity import parse_stats
from stack.telemetry.exposition import fetch_exposition
from stack.telemetry.prometheus_api import PrometheusApi

SCRAPED_SECONDS = 120.0
WATCHED = {"node-exporter": "node", "grafana": "grafana"}
"""Services whose scrape job is called otherwise, or is there with them only."""
SETTLE_SECONDS = 1.0
"""After a switch Docker itself is busy for a moment."""


class Stack:
    """One project with its observability services, in a folder of its own."""

    def __init__(self, bench: Bench, client: docker.DockerClient, http: httpx2.Client) -> None:
        self.bench, self._client, self.http = bench, client, http
        self.url = f"http://127.0.0.1:{bench.prometheus}"
        self.api = PrometheusApi(http, self.url, timeout_seconds=120)
        self.services: dict[str, Container] = {}

    def start(self) -> None:
        """Start it, and find the containers that are not the engine."""
        self.bench.run_stack("up", "--no-smoke")
        label = "com.docker.compose.service"
        project = f"com.docker.compose.project={self.bench.project}"
        found = {one.labels[label]: one for one in self._client.containers.list(filters={"label": project})}
        self.services = {name: one for name, one in sorted(found.items()) if name != "engine"}
        deadline = time.monotonic() + SCRAPED_SECONDS
        while not self._is_scraped():
            if time.monotonic() > deadline:
                raise SystemExit(f"Prometheus has not scraped all its targets {SCRAPED_SECONDS:.0f} s after the start")
            time.sleep(0.5)

    def _is_scraped(self) -> bool:
        """Tell whether every target of the configuration has been scraped well."""
        jobs = {target.job for target in self.api.fetch_targets() if target.health == "up"}
        return {"vllm", "prometheus", *(WATCHED[name] for name in self.services if name in WATCHED)} <= jobs

    def switch(self, is_on: bool) -> None:
        """Let the services run, or freeze them where they stand."""
        for one in self.services.values():
            one.reload()
            if is_on and one.status == "paused":
                one.unpause()
            if not is_on and one.status == "running":
                one.pause()
        time.sleep(SETTLE_SECONDS)

    def read_tokens(self) -> float:
        """Give how many tokens the engine has made since it started, from its own page."""
        url = f"http://127.0.0.1:{self.bench.port}/metrics"
        return fetch_exposition(self.http, url, timeout_seconds=60).total("vllm:generation_tokens_total") or 0.0

    def count_cpu(self) -> float:
        """Give the CPU seconds that the services have taken together."""
        return sum(parse_stats(self._read(one), 0.0).cpu_seconds for one in self.services.values())

    def read_memory(self) -> dict[str, float]:
        """Give the MiB that each service holds, without the page cache."""
        documents = {name: self._read(one) for name, one in self.services.items()}
        return {
            name: parse_stats(one, 0.0).memory_share * one["memory_stats"]["limit"] / 2**20
            for name, one in documents.items()
        }

    def _read(self, container: Container) -> dict[str, Any]:
        return self._client.api.stats(container.id, stream=False, one_shot=True)
