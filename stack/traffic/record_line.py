"""One line of a file of records: text in, a record out, and back. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from stack.traffic.record import ROUTES, Record, RecordedResponse, parse_answers

# `id` and `error` stand in OpenAI's batch output; the offset, the hang-up and the times are this tool's own.
KNOWN_KEYS = frozenset(
    ("id", "custom_id", "method", "url", "body", "response", "error", "offset_seconds", "hang_up_seconds", "timing")
)
_TIMES = ("duration_seconds", "ttft_seconds", "itl_seconds")


class LineError(ValueError):
    """A line that cannot be used; says what is wrong with it and never what stands in it."""


def parse_document(line: str) -> dict[str, Any]:
    """Read a line's JSON document.

    Raises:
        LineError: It is no JSON object.
    """
    try:
        document = json.loads(line, parse_constant=_refuse_constant, parse_float=_parse_float)
    except LineError:
        raise
    except (ValueError, RecursionError) as err:
        where = f" (column {err.colno})" if isinstance(err, json.JSONDecodeError) else ""
        raise LineError(f"no JSON{where}") from err
    if not isinstance(document, dict):
        raise LineError("no JSON object")
    return document


def parse_record(document: Mapping[str, Any]) -> Record:
    """Read a record out of a line's document.

    Raises:
        LineError: What is wrong with it, all of it.
    """
    problems: list[str] = []
    custom_id, url, body = document.get("custom_id"), document.get("url"), document.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        problems.append("`custom_id` must be a text")
    if document.get("method") != "POST":
        problems.append("`method` must be `POST`")
    if not isinstance(url, str) or url not in ROUTES:
        problems.append("`url` is no route that answers a request, such as `/v1/chat/completions`")
    if not isinstance(body, dict) or not body:
        problems.append("`body` must be an object")
    offset = _read_number(document, "offset_seconds", problems)
    hang_up = _read_number(document, "hang_up_seconds", problems)
    if hang_up is not None and hang_up <= 0:
        problems.append("`hang_up_seconds` must be above 0")
    response = None
    try:
        response = _parse_response(document, str(url))
    except LineError as err:
        problems.append(str(err))
    if problems:
        raise LineError("; ".join(problems))
    assert isinstance(custom_id, str) and isinstance(url, str) and isinstance(body, dict)
    return Record(custom_id, "POST", url, body, offset, hang_up, response)


def render_record(record: Record, response: RecordedResponse | None) -> str:
    """Write a record with an answer as one line, which `parse_record` reads again."""
    document: dict[str, Any] = {
        "custom_id": record.custom_id,
        "method": record.method,
        "url": record.url,
        "body": record.body,
    }
    if record.offset_seconds is not None:
        document["offset_seconds"] = record.offset_seconds
    if record.hang_up_seconds is not None:
        document["hang_up_seconds"] = record.hang_up_seconds
    if response is not None:
        document |= _render_response(response)
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _render_response(response: RecordedResponse) -> dict[str, Any]:
    times = {name: getattr(response, name) for name in _TIMES}
    answer = None
    if response.status is not None:
        answer = {"status_code": response.status, "body": response.body}
        if isinstance(response.body, dict) and "id" in response.body:
            answer["request_id"] = response.body["id"]
    error = {"code": response.error, "message": response.error_message} if response.error else None
    return {
        "response": answer,
        "error": error,
        "timing": {name: round(value, 6) for name, value in times.items() if value is not None},
    }


def _parse_response(document: Mapping[str, Any], url: str) -> RecordedResponse | None:
    told, error, timing = (document.get(name) for name in ("response", "error", "timing"))
    if told is None and error is None:
        return None
    status, body, code, message = None, None, "", ""
    if error is not None:
        if not isinstance(error, dict):
            raise LineError("`error` must be an object")
        code, message = str(error.get("code") or "no-answer"), str(error.get("message") or "")
    if told is not None:
        if not isinstance(told, dict) or type(told.get("status_code")) is not int:
            raise LineError("`response` must be an object with a `status_code`")
        status, body = told["status_code"], told.get("body")
    times = _parse_times(timing)
    try:
        answers = parse_answers(url, status, body) if body is not None or not code else ()
    except (ValueError, TypeError, AttributeError, KeyError) as err:
        raise LineError("`response.body` is not what this route answers") from err
    return RecordedResponse(status, body, code, message, answers, *times)


def _parse_times(timing: Any) -> list[float | None]:
    if timing is None:
        return [None] * len(_TIMES)
    if not isinstance(timing, dict):
        raise LineError("`timing` must be an object")
    problems: list[str] = []
    times = [_read_number(timing, name, problems) for name in _TIMES]
    if problems:
        raise LineError("; ".join(problems))
    return times


def _read_number(document: Mapping[str, Any], name: str, problems: list[str]) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        problems.append(f"`{name}` must be a number of seconds")
        return None
    return float(value)


def _refuse_constant(name: str) -> Any:
    raise LineError(f"`{name}` is no JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise LineError("a number is too large to be sent as it is")
    return value
