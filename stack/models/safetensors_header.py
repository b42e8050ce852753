"""The header of a safetensors file: which tensors it holds, and how long the file must be."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from stack.errors import ModelError

_LENGTH_BYTES = 8
# The format's own limit: https://github.com/huggingface/safetensors#format
_LONGEST_HEADER_BYTES = 100_000_000
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Tensor:
    """One tensor, without its data.

    Attributes:
        name: Its name (`model.layers.0.self_attn.q_proj.weight`).
        dtype: Its type as safetensors writes it (`BF16`, `F8_E4M3`, …).
        rank: How many dimensions it has.
        size_bytes: Its data.
    """

    name: str
    dtype: str
    rank: int
    size_bytes: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """What a safetensors file says of itself.

    Attributes:
        tensors: What it holds.
        file_bytes: How long the whole file must be.
    """

    tensors: tuple[Tensor, ...]
    file_bytes: int

    @property
    def dtype_bytes(self) -> dict[str, int]:
        """Give the bytes of weights by type."""
        counted: dict[str, int] = {}
        for tensor in self.tensors:
            counted[tensor.dtype] = counted.get(tensor.dtype, 0) + tensor.size_bytes
        return counted

    @property
    def weights_bytes(self) -> int:
        """Give the size of all tensors together."""
        return sum(tensor.size_bytes for tensor in self.tensors)


def parse_safetensors_header(start: bytes, name: str) -> SafetensorsHeader | int:
    """Read a header from the first bytes of a file, or tell how many of them it takes.

    Args:
        start: The file's beginning, at least eight bytes.
        name: The file, for the words of an error.

    Raises:
        ModelError: The file is something else, or its header is damaged.
    """
    length = struct.unpack("<Q", start[:_LENGTH_BYTES])[0] if len(start) >= _LENGTH_BYTES else 0
    if not 2 <= length <= _LONGEST_HEADER_BYTES:
        _refuse(name, start)
    if len(start) < _LENGTH_BYTES + length:
        return _LENGTH_BYTES + length
    try:
        return _parse(start[_LENGTH_BYTES : _LENGTH_BYTES + length], _LENGTH_BYTES + length)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{name} has a damaged safetensors header") from error


def load_safetensors_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises:
        ModelError: The file is something else, or its header is damaged.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_LENGTH_BYTES + len(_LFS_POINTER))
            found = parse_safetensors_header(start, str(path))
            if isinstance(found, int):
                found = parse_safetensors_header(start + stream.read(found - len(start)), str(path))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if isinstance(found, int):
        raise ModelError(f"{path} has a damaged safetensors header")
    return found


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
    tensors = []
    end_of_data = 0
    for name, tensor in document.items():
        if name == "__metadata__":
            continue
        start, end = tensor["data_offsets"]
        tensors.append(Tensor(name, str(tensor["dtype"]), len(tensor["shape"]), end - start))
        end_of_data = max(end_of_data, end)
    return SafetensorsHeader(tuple(tensors), data_start + end_of_data)


def _refuse(name: str, start: bytes) -> NoReturn:
    if start.startswith(_LFS_POINTER[: len(start)]) and start:
        raise ModelError(f"{name} is a pointer of git-lfs, not the weights", hint="run `git lfs pull` there")
    raise ModelError(f"{name} is not a safetensors file")
