"""Kernels: which of ours a notebook file means, and what an exported file says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shared.contracts.notebooks import KernelType
from shared.errors import Fault

SPECS: dict[KernelType, dict[str, dict[str, Any]]] = {
    "python3": {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
    },
    "r": {
        "kernelspec": {"display_name": "R", "language": "R", "name": "ir"},
        "language_info": {"file_extension": ".r", "mimetype": "text/x-r-source", "name": "R"},
    },
    "scala": {
        "kernelspec": {"display_name": "Apache Toree - Scala", "language": "scala", "name": "apache_toree_scala"},
        "language_info": {"file_extension": ".scala", "mimetype": "text/x-scala", "name": "scala"},
    },
}
"""What JupyterLab needs to open an exported file: IPython's, IRkernel's and Toree's own names."""

_SCALA_NAMES = re.compile(r"^(scala.*|spylon-?kernel|spylon|apache_toree_scala|toree|almond)$")
_PYTHON = re.compile(r"^i?python[-_ ]?(?P<version>\d[\d.]*)?$")
_LANGUAGES: dict[str, KernelType] = {"python": "python3", "ipython": "python3", "r": "r", "scala": "scala"}


@dataclass(frozen=True)
class Recognised:
    """What a file's metadata says about its kernel: a kernel of ours, a fault, or (both None) nothing."""

    kernel_type: KernelType | None = None
    fault: Fault | None = None


def recognise(metadata: dict[str, Any]) -> Recognised:
    """The kernel a notebook file wants, from `metadata.kernelspec` and `metadata.language_info`."""
    spec, info = metadata.get("kernelspec"), metadata.get("language_info")
    name = _word(spec, "name")
    language = _word(info, "name") or _word(spec, "language")
    for path, version in (
        ("kernelspec.name", _python(name)),
        ("language_info.version", _word(info, "version") if _python(language) is not None else None),
        ("language_info.name" if _word(info, "name") else "kernelspec.language", _python(language)),
    ):
        if version is not None and version.partition(".")[0] == "2":
            message = "Python 2 is not supported; port it to 3"
            return Recognised(fault=Fault(path=f"file.metadata.{path}", message=message))
    if _python(name) is not None:
        return Recognised("python3")
    if name == "ir":
        return Recognised("r")
    if _SCALA_NAMES.match(name):
        return Recognised("scala")
    known = _LANGUAGES.get(language.rstrip("0123456789. "))
    if known is not None:
        return Recognised(known)
    if not name and not language:
        return Recognised()
    path, found = ("kernelspec.name", name) if name else ("language_info.name", language)
    return Recognised(
        fault=Fault(
            path=f"file.metadata.{path}",
            message=f"no kernel for {found[:100]!r}; supported are {', '.join(SPECS)}: give kernelType to choose one",
        )
    )


def deviation(metadata: dict[str, Any], chosen: KernelType) -> str | None:
    """What to tell when the caller has chosen a kernel and the file says otherwise."""
    said = recognise(metadata)
    if said.fault is not None:
        return (
            f"{said.fault.path} is not followed ({said.fault.message}): the notebook's kernel is {chosen}, as chosen."
        )
    if said.kernel_type in (None, chosen):
        return None
    return f"The file names the kernel {said.kernel_type}; the notebook's is {chosen}, as chosen."


def metadata_for(kernel_type: KernelType, metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` with a kernel that runs as `kernel_type`; left alone where it says so already."""
    has_spec = _word(metadata.get("kernelspec"), "name") != ""
    if has_spec and recognise(metadata).kernel_type == kernel_type:
        return metadata
    return {**metadata, **SPECS[kernel_type]}


def _python(word: str) -> str | None:
    """The version of Python that a kernel's or language's name gives, empty for none; None when it is not Python."""
    match = _PYTHON.match(word)
    return None if match is None else match["version"] or ""


def _word(part: Any, name: str) -> str:
    value = part.get(name) if isinstance(part, dict) else None
    return value.strip().lower() if isinstance(value, str) else ""
