"""Read the text of a /metrics page: samples by name and labels, and what moved between two pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from stack.errors import ServiceApiError
from stack.telemetry.service_http import fetch_text


@dataclass(frozen=True)
class Sample:
    """One line of a /metrics page.

    Attributes:
        name: The series' name as it is on the wire (`vllm:prompt_tokens_total`).
        labels: Its labels.
        value: Its value, which may be NaN or infinite.
    """

    name: str
    labels: Mapping[str, str]
    value: float

    def has(self, labels: Mapping[str, str]) -> bool:
        """Tell whether all the given labels have these values; one that is not there is empty, as in PromQL."""
        return all(self.labels.get(key, "") == value for key, value in labels.items())


class Exposition:
    """One /metrics page, to be asked by name and labels.

    Args:
        samples: All its lines.
        types: What each metric family is (`counter`, `gauge`, `histogram`, `summary`, `unknown`).
    """

    def __init__(self, samples: tuple[Sample, ...], types: Mapping[str, str]) -> None:
        self.samples = samples
        self.types = dict(types)
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name, []).append(sample)

    @property
    def names(self) -> frozenset[str]:
        """Every series name on the page."""
        return frozenset(self._by_name)

    def select(self, name: str, /, **labels: str) -> tuple[Sample, ...]:
        """Give the samples of this name that have these labels, in the page's order."""
        return tuple(sample for sample in self._by_name.get(name, ()) if sample.has(labels))

    def total(self, name: str, /, **labels: str) -> float | None:
        """Give the sum over the samples of this name that have these labels; None where there are none."""
        found = self.select(name, **labels)
        return sum(sample.value for sample in found) if found else None


def parse_exposition(text: str, *, service: str = "engine", url: str = "/metrics") -> Exposition:
    """Give the samples of a page in Prometheus' text format.

    Args:
        text: The page.
        service: Who wrote it, for the error.
        url: Where it was read, for the error.

    Raises:
        ServiceApiError: The text is not in that format (an HTML error page, for example).

    Source:
        prometheus_client's parser is a generator that raises ValueError while it is read.
    """
    samples: list[Sample] = []
    types: dict[str, str] = {}
    try:
        for family in text_string_to_metric_families(text):
            types[family.name] = family.type
            samples += [Sample(line.name, dict(line.labels), float(line.value)) for line in family.samples]
    except (ValueError, IndexError, KeyError) as err:
        raise ServiceApiError(service, url, f"not Prometheus' text format ({err})") from err
    return Exposition(tuple(samples), types)


def fetch_exposition(
    client: httpx2.Client, url: str, *, service: str = "engine", timeout_seconds: float = 5.0
) -> Exposition:
    """Give what a service's /metrics page says now.

    Raises:
        ServiceApiError: The service does not answer, or not with metrics.
    """
    text = fetch_text(client, service, url, timeout_seconds=timeout_seconds)
    return parse_exposition(text, service=service, url=url)


def counter_delta(before: Exposition, after: Exposition, name: str, /, **labels: str) -> float | None:
    """Give by how much the counters of this name rose between two pages.

    A series that was not there before rose from zero; one that is smaller than before was reset, and rose
    from zero to what it is now, as Prometheus' `increase` has it.

    Returns:
        The sum over all series with these labels; None where there are none on the later page.
    """
    found = after.select(name, **labels)
    if not found:
        return None
    earlier = dict(_series(before.select(name, **labels)))
    return sum(_rise(earlier.get(key, 0.0), value) for key, value in _series(found))


def _series(samples: tuple[Sample, ...]) -> Iterator[tuple[frozenset[tuple[str, str]], float]]:
    return ((frozenset(sample.labels.items()), sample.value) for sample in samples)


def _rise(before: float, after: float) -> float:
    return after - before if after >= before else after
