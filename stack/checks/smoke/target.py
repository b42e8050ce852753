"""What smoke is given: facts about a running stack and the few clients to ask it through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stack.checks.finding import Baseline
from stack.checks.smoke.contract import Contract

Level = Literal["verified", "claimed", "unknown"]
Messages = Sequence[Mapping[str, str]]
Prompt = str | Sequence[int]


class Engine(Protocol):
    """What smoke needs of a client of the engine; failures are `ServiceApiError`, with a `status_code`."""

    def fetch_models(self) -> Sequence[Any]:
        """Fetch the model cards (`id`, `max_model_len`)."""

    def fetch_version(self) -> str:
        """Fetch the engine's own version."""

    def fetch_metrics(self) -> str:
        """Fetch the text of `/metrics`."""

    def fetch_tokens(self, prompt: str, *, add_special_tokens: bool = ...) -> list[int]:
        """Fetch the token ids of a text."""

    def fetch_chat_tokens(self, messages: Messages, *, add_generation_prompt: bool = ...) -> list[int]:
        """Fetch the token ids of a conversation, put through the chat template."""

    def fetch_text(self, token_ids: Sequence[int]) -> str:
        """Fetch the text of token ids."""

    def fetch_embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        """Fetch one vector a text."""

    def fetch_raw(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = ...,
        api_key: str | None = ...,
        use_key: bool = ...,
    ) -> Any:
        """Send a request as it is; give `status_code` and `message`, whatever they are."""

    def run_completion(self, prompt: Prompt, **options: Any) -> Any:
        """Run one completion."""

    def run_completions(self, prompts: Sequence[Prompt], **options: Any) -> list[Any]:
        """Run several completions in one request."""

    def run_chat(self, messages: Messages, **options: Any) -> Any:
        """Run one chat completion."""

    def run_chat_batch(self, conversations: Sequence[Messages], **options: Any) -> list[Any]:
        """Run several conversations through the batch route."""

    def stream_completion(self, prompt: Prompt, **options: Any) -> Iterator[Any]:
        """Stream one completion; closing the iterator hangs up."""

    def stream_chat(self, messages: Messages, **options: Any) -> Iterator[Any]:
        """Stream one chat completion; closing the iterator hangs up."""


@dataclass(frozen=True)
class TargetState:
    """One scrape target as Prometheus sees it (`health` is `up`, `down` or `unknown`)."""

    job: str
    url: str
    health: str
    last_error: str = ""


@dataclass(frozen=True)
class RuleState:
    """One rule as Prometheus sees it (`health` is `ok`, `err` or `unknown`)."""

    group: str
    name: str
    health: str
    last_error: str = ""


class Prometheus(Protocol):
    """What smoke asks of Prometheus; failures are `ServiceApiError`."""

    def targets(self) -> Sequence[TargetState]:
        """Give the active scrape targets."""

    def rules(self) -> Sequence[RuleState]:
        """Give the recording and alerting rules."""

    def query(self, expression: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """Give the samples of an instant query: labels and value."""


class Grafana(Protocol):
    """What smoke asks of Grafana; failures are `ServiceApiError`."""

    def health(self) -> str:
        """Give the state of its database, `ok` when well."""

    def datasource_health(self) -> tuple[str, str]:
        """Give the status (`OK` when well) and the message of the data source's own test."""

    def dashboards(self) -> Sequence[str]:
        """Give the uids of the dashboards that are there."""


@dataclass(frozen=True)
class ServiceFacts:
    """One container of the stack, as Docker tells it now."""

    name: str
    state: str
    health: str | None = None
    restart_count: int = 0
    started_at: str | None = None
    is_required: bool = True


@dataclass(frozen=True)
class IdentityFacts:
    """What the engine should be, and what was found; None where the lock or the container says nothing.

    Attributes:
        accepted_level: The lowest level that is good enough (`accept` in the config).
    """

    expected_commit: str | None = None
    found_commit: str | None = None
    found_level: Level = "unknown"
    accepted_level: Level = "verified"
    expected_digest: str | None = None
    found_digest: str | None = None
    expected_image_id: str | None = None
    found_image_id: str | None = None
    expected_version: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What is known of the model from its files and from the engine's arguments.

    Attributes:
        embedding_size: The length of a pooling model's vectors.
        is_normalized: Whether a pooling model's vectors have length one; None when unknown.
    """

    id: str
    revision: str
    is_pooling: bool = False
    is_reasoning: bool = False
    has_chat_template: bool = True
    vocab_size: int | None = None
    embedding_size: int | None = None
    is_normalized: bool | None = None


@dataclass(frozen=True)
class Canary:
    """A question whose right answer must score better than the wrong ones.

    Attributes:
        kind: `chat` goes through the chat template; `completion` continues the prompt as it is (mind the
            leading space of the answers).
    """

    kind: Literal["chat", "completion"]
    prompt: str
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class SmokeConfig:
    """What the user may change.

    Attributes:
        canaries: More canaries, beside the default ones.
        texts: More texts whose likelihood is measured, beside the default ones.
        use_defaults: Whether the default canaries and texts (English) are used.
        concurrency: How many requests the batched checks send at once.
        timeout_seconds: For the whole run.
    """

    canaries: tuple[Canary, ...] = ()
    texts: tuple[str, ...] = ()
    use_defaults: bool = True
    concurrency: int = 8
    timeout_seconds: float = 60.0


@dataclass(frozen=True)
class SmokeTarget:
    """A running stack, as facts.

    Attributes:
        engine: A client that holds the served name and the API key.
        served_name: The name under which the model must be served.
        max_num_seqs: How many requests the engine may run at once, where it is limited by an argument.
        api_key: The key that must be demanded, or None when none is set.
        prometheus: None when there is none; the reason stands in `prometheus_skip`.
        grafana: None when there is none; the reason stands in `grafana_skip`.
        contract: The stack's own dashboards, rules and alerts, or None where they are not known.
        baseline: What an earlier run measured on this model revision.
    """

    engine: Engine
    served_name: str
    model: ModelFacts
    services: tuple[ServiceFacts, ...] = ()
    identity: IdentityFacts = field(default_factory=IdentityFacts)
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    api_key: str | None = None
    prometheus: Prometheus | None = None
    prometheus_skip: str = "there is no Prometheus in this stack"
    grafana: Grafana | None = None
    grafana_skip: str = "there is no Grafana in this stack"
    dashboard_uids: tuple[str, ...] = ()
    contract: Contract | None = None
    baseline: Baseline | None = None
    config: SmokeConfig = field(default_factory=SmokeConfig)
