"""The few tar records that a bundle's file is made of, plain or each in a zstd frame of its own (pure).

A member is a header and its padded bytes. In a compressed file the header is a frame of a fixed length that holds
it as it is, and the bytes are the next frame. So any `tar` and `zstd` can unpack the file, a member is found
without unpacking those before it, members are unpacked side by side, and a header may be written after its bytes,
when their hash is known.

Source: POSIX.1-1988 ustar; RFC 8878 (zstd: frames 3.1.1, raw blocks 3.1.1.2.2, skippable frames 3.1.2).
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable

from stack.bundles.problem import BundleError

BLOCK_BYTES = tarfile.BLOCKSIZE
_MAGIC = b"\x28\xb5\x2f\xfd"
# One segment, a content size of two bytes (less 256), one last block that is stored as it is.
_RAW_HEAD = _MAGIC + b"\x60" + struct.pack("<H", BLOCK_BYTES - 256) + (BLOCK_BYTES << 3 | 1).to_bytes(3, "little")
RAW_FRAME_BYTES = len(_RAW_HEAD) + BLOCK_BYTES

Read = Callable[[int, int], bytes]
"""Gives so many bytes from a position of the file; fewer at its end."""


def build_header(path: str, size_bytes: int) -> bytes:
    """Give the header of a member, the same for the same path and size."""
    member = tarfile.TarInfo(path)
    member.size, member.mode = size_bytes, 0o755 if path == "tool/install" else 0o644
    block = member.tobuf(tarfile.USTAR_FORMAT if size_bytes < 8**11 else tarfile.GNU_FORMAT)
    assert len(block) == BLOCK_BYTES, path
    return block


def parse_header(block: bytes, where: object) -> tarfile.TarInfo | None:
    """Read a header; None at the end of the archive.

    Raises:
        BundleError: It is damaged, or of something that no bundle has.
    """
    if not any(block):
        return None
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as err:
        raise BundleError(f"{where} is damaged: a header in it is none ({err})") from err
    member.name = member.name.removeprefix("./").encode(errors="replace").decode()
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        what = {
            tarfile.LNKTYPE: "a link",
            tarfile.SYMTYPE: "a link",
            tarfile.CHRTYPE: "a device",
            tarfile.BLKTYPE: "a device",
            tarfile.FIFOTYPE: "a pipe",
        }.get(member.type, f"something of the type {member.type!r}")
        raise BundleError(f"{where} is refused: `{member.name}` is {what}, and a bundle holds files only")
    if member.size < 0 or (member.type == tarfile.DIRTYPE and member.size):
        raise BundleError(f"{where} is damaged: `{member.name}` has no possible size")
    return member


def count_padding(size_bytes: int) -> int:
    """Give how many zeros follow so many bytes."""
    return -size_bytes % BLOCK_BYTES


def wrap_block(block: bytes) -> bytes:
    """Give one block as a zstd frame of a fixed length that holds it as it is."""
    return _RAW_HEAD + block


def unwrap_block(frame: bytes) -> bytes | None:
    """Give the block back, or None where the frame is another's."""
    return frame[len(_RAW_HEAD) :] if frame.startswith(_RAW_HEAD) and len(frame) == RAW_FRAME_BYTES else None


def is_compressed(head: bytes) -> bool:
    """Tell whether a file begins with a zstd frame."""
    return head.startswith(_MAGIC)


def find_frame_end(read: Read, position: int, where: object) -> int:
    """Give where a zstd frame ends, by its block headers and without unpacking it.

    Raises:
        BundleError: There is no frame, or it is cut.
    """
    head = read(position, 18)
    cut = BundleError(f"{where} is cut or damaged at byte {position}: no zstd frame ends there")
    if not head.startswith(_MAGIC) or len(head) < 6:
        raise cut
    descriptor = head[4]
    is_single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    size_field = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    position += 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3] + size_field
    is_last = 0
    while not is_last:
        block = read(position, 3)
        if len(block) < 3:
            raise cut
        word = int.from_bytes(block, "little")
        is_last, kind = word & 1, word >> 1 & 3
        if kind == 3:
            raise cut
        position += 3 + (1 if kind == 1 else word >> 3)
    return position + 4 * has_checksum
