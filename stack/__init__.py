"""One command turns a workstation into a local vLLM inference service that can be trusted."""

__version__ = "0.1.0"
