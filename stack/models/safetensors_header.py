"""The header of a safetensors file: which tensors it holds, and how long the file must be."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.errors import ModelError

_LENGTH_BYTES = 8
# The format's own limit: https://github.com/huggingface/safetensors#format
_LONGEST_HEADER_BYTES = 100_000_000
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class SafetensorsHeader:
    """What a safetensors file says of itself.

    Attributes:
        dtype_bytes: Bytes of weights by type (`BF16`, `F8_E4M3`, …).
        file_bytes: How long the whole file must be.
    """

    dtype_bytes: dict[str, int]
    file_bytes: int

    @property
    def weights_bytes(self) -> int:
        """Give the size of all tensors together."""
        return sum(self.dtype_bytes.values())


def load_safetensors_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises:
        ModelError: The file is something else, or its header is damaged.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_LENGTH_BYTES)
            length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH_BYTES else 0
            if not 2 <= length <= _LONGEST_HEADER_BYTES:
                _refuse(path, start + stream.read(len(_LFS_POINTER)))
            text = stream.read(length)
        return _parse(text, _LENGTH_BYTES + length)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} has a damaged safetensors header") from error


def check_safetensors_size(path: Path) -> None:
    """Find a safetensors file that was cut, without reading its data.

    Raises:
        ModelError: It is not as long as its header says.
    """
    header = load_safetensors_header(path)
    size_bytes = path.stat().st_size
    if size_bytes != header.file_bytes:
        raise ModelError(
            f"{path} is damaged: it has {size_bytes} bytes, its header speaks of {header.file_bytes}",
            hint="copy or download it again",
        )


def _parse(text: bytes, data_start: int) -> SafetensorsHeader:
    document: dict[str, Any] = json.loads(text)
    dtype_bytes: dict[str, int] = {}
    end_of_data = 0
    for name, tensor in document.items():
        if name == "__metadata__":
            continue
        start, end = tensor["data_offsets"]
        dtype_bytes[tensor["dtype"]] = dtype_bytes.get(tensor["dtype"], 0) + end - start
        end_of_data = max(end_of_data, end)
    return SafetensorsHeader(dtype_bytes, data_start + end_of_data)


def _refuse(path: Path, start: bytes) -> None:
    if start.startswith(_LFS_POINTER[: len(start)]) and start:
        raise ModelError(f"{path} is a pointer of git-lfs, not the weights", hint="run `git lfs pull` there")
    raise ModelError(f"{path} is not a safetensors file")
