"""Which files of a model repository or directory an engine needs (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

# Copies of the same weights for other runtimes, as they are named across the hub.
_OTHER_RUNTIMES = frozenset(
    {"onnx", "openvino", "original", "metal", "coreml", "gguf", "tflite", "runs", "flax", "mlx"}
)
_OTHER_WEIGHTS = (
    ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf", ".ggml", ".tflite",
    ".ot", ".pkl", ".pickle", ".npz", ".nemo", ".mlmodel", ".xml", ".zip", ".tar", ".gz", ".engine",
)  # fmt: skip
_MEDIA = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp4", ".mov", ".wav", ".mp3", ".pdf", ".ipynb")
_VARIANT = re.compile(r"model\.(?:fp16|fp32|bf16|int8|non_ema)(?:-\d{5}-of-\d{5})?\.safetensors")
_STANDARD = re.compile(r"model(?:-\d{5}-of-\d{5})?\.safetensors")


@dataclass(frozen=True)
class Selection:
    """Which files count.

    Attributes:
        chosen: What the engine needs, sorted.
        skipped: The rest, sorted.
        weights: The safetensors files among the chosen.
        other_weights: Weights in formats that are not used, to explain why there are none.
    """

    chosen: tuple[str, ...]
    skipped: tuple[str, ...]
    weights: tuple[str, ...]
    other_weights: tuple[str, ...]


def select_files(names: Iterable[str]) -> Selection:
    """Sort a repository's file names into what the engine needs and the rest.

    Safetensors are taken; pickles, copies for other runtimes, other precisions of the same weights, Mistral's
    `consolidated` copy beside `model-…`, media and dotfiles are left out.
    """
    everything = sorted(set(names))
    has_standard = any(_STANDARD.fullmatch(name) for name in everything)
    chosen = [name for name in everything if _is_needed(name, has_standard)]
    taken = set(chosen)
    skipped = [name for name in everything if name not in taken]
    return Selection(
        chosen=tuple(chosen),
        skipped=tuple(skipped),
        weights=tuple(name for name in chosen if name.endswith(".safetensors")),
        other_weights=tuple(name for name in skipped if name.lower().endswith(_OTHER_WEIGHTS)),
    )


def _is_needed(name: str, has_standard: bool) -> bool:
    path = PurePosixPath(name)
    lowered = path.name.lower()
    if any(part.startswith(".") for part in path.parts):
        return False
    if _OTHER_RUNTIMES.intersection(part.lower() for part in path.parts[:-1]):
        return False
    if lowered.endswith(_OTHER_WEIGHTS) or lowered.endswith(_MEDIA):
        return False
    if has_standard and len(path.parts) == 1:
        is_copy = lowered.startswith("consolidated") and ".safetensors" in lowered
        return not is_copy and not _VARIANT.fullmatch(lowered)
    return True
