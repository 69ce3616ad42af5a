"""What the gateway checks of an uploaded notebook file before anybody parses it: text, size and nesting."""

from __future__ import annotations

from shared.errors import Fault
from shared.nesting import MAX_NESTING, too_deep


def text_of(content: bytes, faults: list[Fault]) -> str:
    """The file as text; what is wrong with it is added to `faults`, and the text is empty then.

    Whether it is a notebook is for catalog to say.
    """
    if not content.strip():
        faults.append(Fault(path="file", message="is empty"))
        return ""
    if content.startswith(b"\x1f\x8b"):
        faults.append(Fault(path="file", message="is compressed (gzip); upload the notebook itself"))
        return ""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.append(Fault(path="file", message=f"is not UTF-8 text: the byte at position {error.start} is wrong"))
        return ""
    if "\x00" in text:
        faults.append(Fault(path="file", message="contains the NUL character"))
        return ""
    if text.lstrip()[:1] in ("{", "[") and too_deep(content):
        faults.append(Fault(path="file", message=f"is nested deeper than {MAX_NESTING} levels"))
        return ""
    return text
