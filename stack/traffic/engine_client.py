"""A client of vLLM's OpenAI-compatible server: typed answers in, `ServiceApiError` out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx2

from stack.errors import ServiceApiError
from stack.traffic.engine_answers import Answer, FirstToken, ModelCard, StreamChunk
from stack.traffic.engine_http import (
    EngineApiError,
    RawAnswer,
    demand_success,
    describe_failure,
)
from stack.traffic.engine_wire import (
    parse_chats,
    parse_completions,
    parse_embeddings,
    parse_models,
    parse_stream_chunk,
    parse_token_ids,
)
from stack.traffic.sse import DONE, parse_events

Message = Mapping[str, str]
Prompt = str | Sequence[int]


class EngineClient:
    """Speaks to one engine; safe to use from several threads.

    Args:
        client: The HTTP client, owned by the caller.
        base_url: Where the engine listens, without `/v1`.
        model: The served model name; asked of the engine at first need when None.
        api_key: The key's text, if the engine demands one.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        client: httpx2.Client,
        base_url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = client
        self._model = model
        self._api_key = api_key.strip() if api_key else None
        self._clock = clock

    def close(self) -> None:
        """Close the connections, which else end with the client: there an interrupt of that moment is lost."""
        self._client.close()

    def fetch_models(self) -> list[ModelCard]:
        """Fetch the cards of the models that the engine serves."""
        return self._read("GET", "/v1/models", None, parse_models)

    def fetch_version(self) -> str:
        """Fetch the engine's own version, such as `0.32.0`."""
        return self._read("GET", "/version", None, lambda document: str(document["version"]))

    def fetch_metrics(self, timeout_seconds: float | None = None) -> str:
        """Fetch the text of `/metrics`."""
        answer = self.fetch_raw("GET", "/metrics", timeout_seconds=timeout_seconds)
        demand_success(self.base_url, "/metrics", answer)
        return answer.text

    def fetch_tokens(self, prompt: str, *, add_special_tokens: bool = False) -> list[int]:
        """Fetch the token ids of a text."""
        body = {"model": self.model, "prompt": prompt, "add_special_tokens": add_special_tokens}
        return self._read("POST", "/tokenize", body, parse_token_ids)

    def fetch_chat_tokens(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Fetch the token ids of a conversation, put through the model's chat template."""
        body = {"messages": list(messages), "add_generation_prompt": add_generation_prompt}
        return self._read("POST", "/tokenize", {"model": self.model, **body}, parse_token_ids)

    def fetch_text(self, token_ids: Sequence[int]) -> str:
        """Fetch the text that token ids stand for."""
        body = {"model": self.model, "tokens": list(token_ids)}
        return self._read("POST", "/detokenize", body, lambda document: str(document["prompt"]))

    def fetch_embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        """Fetch one vector a text, in the order of the texts."""
        body = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        return self._read("POST", "/v1/embeddings", body, parse_embeddings)

    def run_completion(self, prompt: Prompt, **options: Any) -> Answer:
        """Run one completion; options are vLLM's own (`max_tokens`, `logprobs`, `prompt_logprobs`, …)."""
        return self.run_completions([prompt], **options)[0]

    def run_completions(self, prompts: Sequence[Prompt], **options: Any) -> list[Answer]:
        """Run several completions in one HTTP request, answers in the order of the prompts."""
        body = self._complete_body([*prompts] if len(prompts) != 1 else prompts[0], options)
        return self._generate("/v1/completions", body, parse_completions)

    def run_chat(self, messages: Sequence[Message], **options: Any) -> Answer:
        """Run one chat completion; `top_logprobs=N` asks for log-probabilities."""
        return self._generate("/v1/chat/completions", self._chat_body(messages, options), parse_chats)[0]

    def run_chat_batch(self, conversations: Sequence[Sequence[Message]], **options: Any) -> list[Answer]:
        """Run several conversations through vLLM's batch route, answers in the order of the conversations."""
        body = self._chat_body([list(messages) for messages in conversations], options)
        return self._generate("/v1/chat/completions/batch", body, parse_chats)

    def stream_completion(self, prompt: Prompt, **options: Any) -> Iterator[StreamChunk]:
        """Stream one completion; closing the iterator hangs up."""
        return self._stream("/v1/completions", self._complete_body(prompt, options))

    def stream_chat(self, messages: Sequence[Message], **options: Any) -> Iterator[StreamChunk]:
        """Stream one chat completion; closing the iterator hangs up."""
        return self._stream("/v1/chat/completions", self._chat_body(messages, options))

    def probe_first_token(self, *, is_pooling: bool = False, timeout_seconds: float = 10.0) -> FirstToken:
        """Ask for one token (or one vector); what is wrong comes back as a reason, never as an exception."""
        began = self._clock()
        try:
            if is_pooling:
                body = {"model": self.model, "input": ["ready?"]}
                self._read("POST", "/v1/embeddings", body, parse_embeddings, timeout_seconds)
            else:
                body = self._complete_body("ready?", {"max_tokens": 1})
                answer = self._generate("/v1/completions", body, parse_completions, timeout_seconds)[0]
                if answer.usage is None or answer.usage.completion_tokens < 1:
                    return FirstToken(None, "the engine answered without a token")
        except ServiceApiError as err:
            return FirstToken(None, err.message)
        return FirstToken(self._clock() - began)

    def fetch_raw(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        api_key: str | None = None,
        use_key: bool = True,
        timeout_seconds: float | None = None,
    ) -> RawAnswer:
        """Send a request as it is and give the answer whatever its status; `api_key` replaces the own key.

        Raises:
            EngineApiError: No answer came.
        """
        key = api_key or (self._api_key if use_key else None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if content is not None:
            headers["Content-Type"] = "application/json"
        url = self.base_url + path
        timeout = httpx2.USE_CLIENT_DEFAULT if timeout_seconds is None else timeout_seconds
        try:
            response = self._client.request(method, url, content=content, headers=headers, timeout=timeout)
        except httpx2.HTTPError as err:
            raise describe_failure(url, err) from err
        return RawAnswer(response.status_code, response.text)

    @property
    def model(self) -> str:
        """The served model name."""
        if self._model is None:
            cards = self.fetch_models()
            if not cards:
                raise EngineApiError(f"{self.base_url}/v1/models", "the engine serves no model")
            self._model = cards[0].id
        return self._model

    def _complete_body(self, prompt: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "prompt": prompt, "temperature": 0.0, **options}
        if "logprobs" in options or "prompt_logprobs" in options:
            body |= {"return_token_ids": True, "return_tokens_as_token_ids": True}
        return body

    def _chat_body(self, messages: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": messages, "temperature": 0.0, **options}
        if "top_logprobs" in options:
            body |= {"logprobs": True, "return_token_ids": True, "return_tokens_as_token_ids": True}
        return body

    def _generate(
        self,
        path: str,
        body: Mapping[str, Any],
        parse: Callable[[Any], list[Answer]],
        timeout_seconds: float | None = None,
    ) -> list[Answer]:
        began = self._clock()
        answers = self._read("POST", path, body, parse, timeout_seconds)
        if not answers:
            raise EngineApiError(self.base_url + path, "an answer without a choice")
        seconds = self._clock() - began
        return [replace(answer, duration_seconds=seconds) for answer in answers]

    def _read(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        parse: Callable[[Any], Any],
        timeout_seconds: float | None = None,
    ) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self.fetch_raw(method, path, content=content, timeout_seconds=timeout_seconds)
        demand_success(self.base_url, path, answer)
        try:
            return parse(json.loads(answer.text))
        except (ValueError, KeyError, TypeError) as err:
            said = answer.text.strip()[:200]
            raise EngineApiError(
                self.base_url + path, f"an answer that cannot be read ({err}): {said}", status_code=200
            ) from err

    def _stream(self, path: str, body: Mapping[str, Any]) -> Iterator[StreamChunk]:
        url = self.base_url + path
        sent = {**body, "stream": True, "stream_options": {"include_usage": True}}
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        began = self._clock()
        try:
            with self._client.stream("POST", url, json=sent, headers=headers) as response:
                if response.status_code >= 400:
                    response.read()
                    demand_success(self.base_url, path, RawAnswer(response.status_code, response.text))
                for data in parse_events(response.iter_bytes()):
                    yield _read_event(url, data, self._clock() - began)
        except httpx2.HTTPError as err:
            raise describe_failure(url, err) from err


def _read_event(url: str, data: str, at_seconds: float) -> StreamChunk:
    if data == DONE:
        return StreamChunk(at_seconds, is_done=True)
    try:
        return parse_stream_chunk(json.loads(data), at_seconds)
    except ValueError as err:
        raise EngineApiError(url, f"a stream that cannot be read: {err}", status_code=200) from err
