"""Scripts and Markdown as notebooks and back, by jupytext: percent and light scripts, Markdown, R Markdown, Quarto.

jupytext is written for the files of its own user. What strangers send is read in a child process (`child_calls`).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

import jupytext
import nbformat
import orjson

from services.catalog import kernels
from services.catalog.document import Document, Json
from services.catalog.faults import path_of
from services.catalog.importing import ipynb
from services.catalog.importing.parsed import Parsed, refused
from shared.contracts.notebooks import KernelType
from shared.errors import Fault

FORMATS = {
    ".py": "py",
    ".r": "R",
    ".scala": "scala",
    ".md": "md",
    ".markdown": "md",
    ".rmd": "Rmd",
    ".qmd": "Rmd",  # the same fences; jupytext's own reader for Quarto calls a program that is not here
}
"""How jupytext is to read a file, by its name's ending in lower case."""

TextFormat = Literal["script", "markdown", "rmarkdown"]
"""A notebook's text forms."""

_LANGUAGES: dict[str, KernelType] = {".py": "python3", ".r": "r", ".scala": "scala"}
_SCRIPTS: dict[KernelType, str] = {"python3": ".py", "r": ".R", "scala": ".scala"}
_OTHERS = {"markdown": (".md", "markdown"), "rmarkdown": (".Rmd", "rmarkdown")}
_LAYOUT = ("lines_to_next_cell", "lines_to_end_of_cell_marker")
"""What jupytext notes of a script's empty lines."""

_LINE_ENDS_TO_PYTHON = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
"""Where `str.splitlines` breaks a line and no language does; jupytext would lose them."""


def ending_of(file_name: str) -> str:
    """The ending of a file's name in lower case."""
    return PurePosixPath(file_name.replace("\\", "/")).suffix.lower()


def read(file_name: str, text: str) -> Parsed:
    """Read a script or Markdown file as jupytext does. Raises Invalid."""
    ending = ending_of(file_name)
    notebook = _converted(text, ending)
    metadata, cells = notebook["metadata"], notebook["cells"]
    told = metadata.pop("jupytext", {})
    form = told.get("text_representation", {}).get("format_name", "text")
    metadata |= _kernel(metadata, told.get("main_language") or told.get("default_lexer"), ending)
    warnings: list[str] = []
    if form == "light" and len(cells) > 1 and not any(mark in text for mark in ("# +", "// +", "# region")):
        warnings.append("The script has no cell markers; as in Jupytext's light format, cells end at empty lines.")
    for cell in cells:
        for name in _LAYOUT:
            cell["metadata"].pop(name, None)
        cell.pop("id", None)  # a random one
        if "id" in cell["metadata"]:
            cell["id"] = cell["metadata"].pop("id")
    return ipynb.finished(notebook, warnings, nbformat=form, ids_expected=None)


def write(document: Document, kernel_type: KernelType, form: TextFormat) -> tuple[str, str]:
    """Return the notebook as text without outputs, and the ending of its file's name."""
    ending, name = (_SCRIPTS[kernel_type], "percent") if form == "script" else _OTHERS[form]
    notebook = nbformat.from_dict(document.pinned(kernel_type))
    # Everything of the cells is kept: a script that is uploaded again is the same notebook.
    notebook.metadata["jupytext"] = {"cell_metadata_filter": "all", "notebook_metadata_filter": "kernelspec,jupytext"}
    text: str = jupytext.writes(notebook, fmt={"extension": ending, "format_name": name})
    return text, ending


def _converted(text: str, ending: str) -> Json:
    """The notebook as plain JSON."""
    breaks: dict[str, str] = {}
    if any(character in text for character in _LINE_ENDS_TO_PYTHON):
        free = (chr(code) for code in range(0xF0000, 0xFFFFE) if chr(code) not in text)
        breaks = {character: next(free) for character in _LINE_ENDS_TO_PYTHON}
    try:
        read = _read(text.translate({ord(its): ours for its, ours in breaks.items()}), ending)
        plain = orjson.dumps(read, option=orjson.OPT_NON_STR_KEYS).decode()
    except MemoryError:
        raise
    except nbformat.ValidationError as error:
        # A cell is checked when it is made, before it has a number.
        place = path_of(error.absolute_path)
        message = f"would make no valid notebook or cell: {place}: {error.message}"[:300]
        raise refused([Fault(path="file", message=message)]) from error
    except Exception as error:  # of many kinds, from jupytext's own to those of YAML
        message = f"cannot be read as a notebook: {type(error).__name__}: {error}"[:300]
        raise refused([Fault(path="file", message=message)]) from error
    back = {ord(ours): f"\\u{ord(its):04x}" for its, ours in breaks.items()}
    notebook: Json = orjson.loads(plain.translate(back) if back else plain)
    return notebook


def _read(text: str, ending: str) -> Any:
    """jupytext's reading, also of a header whose kernelspec has a name alone, which it refuses."""
    try:
        return jupytext.reads(text, fmt=FORMATS[ending])
    except nbformat.ValidationError as error:
        if list(error.absolute_path) != ["metadata", "kernelspec"] or "display_name" in text:
            raise
        lines = text.split("\n")
        start = next(number for number, line in enumerate(lines) if "kernelspec:" in line)
        if "{" in lines[start]:
            lines[start] = lines[start].replace("{", "{display_name: kernel, ", 1)
        else:
            entry = lines[start + 1]
            lines.insert(start + 1, entry[: len(entry) - len(entry.lstrip("# /"))] + "display_name: kernel")
        read = jupytext.reads("\n".join(lines), fmt=FORMATS[ending])
        del read.metadata["kernelspec"]["display_name"]
        return read


def _kernel(metadata: Json, language: Any, ending: str) -> Json:
    """The metadata that tell the kernel, where the file's header names none: by its language."""
    spec = metadata.get("kernelspec")
    if isinstance(spec, dict) and isinstance(spec.get("name"), str):
        return {"kernelspec": {"display_name": spec["name"], **spec}}
    kernel_type = _LANGUAGES.get(ending)
    if kernel_type is None and isinstance(language, str):
        said = kernels.recognise({"language_info": {"name": language}})
        if said.kernel_type is None:
            return {"language_info": {"name": language}}
        kernel_type = said.kernel_type
    return dict(kernels.SPECS[kernel_type]) if kernel_type else {}
