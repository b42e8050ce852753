"""The client of the project's engine, with its key."""

from __future__ import annotations

from stack.operations.access import read_api_key
from stack.operations.session import Session
from stack.traffic.engine_client import EngineClient
from stack.traffic.engine_http import build_http_client


def build_engine(
    session: Session, port: int, served_name: str | None = None, *, timeout_seconds: float = 60.0
) -> EngineClient:
    """Give a client of the project's engine."""
    key, http = read_api_key(session.config, session.paths), build_http_client(timeout_seconds)
    return EngineClient(http, f"http://127.0.0.1:{port}", model=served_name, api_key=key)
