"""Several byte strings as one, without looking into them."""

from __future__ import annotations

_SIZE_BYTES = 8


def joined(*parts: bytes) -> bytes:
    """Return the parts one behind the other, each after its length."""
    return b"".join(piece for part in parts for piece in (len(part).to_bytes(_SIZE_BYTES), part))


def split(whole: bytes) -> list[bytes]:
    """Return the parts again. Raises ValueError for what `joined` did not make."""
    parts, at = [], 0
    while at < len(whole):
        begin = at + _SIZE_BYTES
        at = begin + int.from_bytes(whole[at:begin])
        if at > len(whole):
            raise ValueError("a part is cut off")
        parts.append(whole[begin:at])
    return parts
