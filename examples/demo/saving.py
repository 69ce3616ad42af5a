"""Fetches a run's files into a folder, each under a name that says what it is."""

import json
import mimetypes
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from examples.demo.api import Api, Json

LISTING = "contents.json"  # names the files of the last run, so that the next one can remove just these
ENDINGS = {"image/png": ".png", "image/svg+xml": ".svg", "image/jpeg": ".jpg", "text/html": ".html"}
"""Written down, because what `mimetypes` knows depends on the machine."""


@dataclass(frozen=True, kw_only=True)
class SavedFile:
    """One file, and how it came."""

    path: Path
    what: str
    size: int  # bytes
    seconds: float


class Saver:
    """Writes files to one folder, without two of the same name."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self.folder = folder
        self.saved: list[SavedFile] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._remove_previous()

    def fetch(self, url: str, name: str, ending: str, what: str) -> None:
        """Downloads one file. Raises ApiError."""
        self.write(name, ending, what, lambda path: self._api.download(url, path))

    def write(self, name: str, ending: str, what: str, make: Callable[[Path], int]) -> None:
        """Adds a file that `make` writes; it returns the size in bytes."""
        path = self._free_path(_slug(name), ending)
        began = time.monotonic()
        size = make(path)
        self.saved.append(SavedFile(path=path, what=what, size=size, seconds=time.monotonic() - began))
        listed = [{"file": file.path.name, "what": file.what} for file in self.saved]
        (self.folder / LISTING).write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")

    def _free_path(self, stem: str, ending: str) -> Path:
        taken = {file.path for file in self.saved} | {self.folder / LISTING}
        path, number = self.folder / f"{stem}{ending}", 2
        while path in taken:
            path, number = self.folder / f"{stem}-{number}{ending}", number + 1
        return path

    def _remove_previous(self) -> None:
        """Removes what an earlier run listed; files of the user's own stay."""
        try:
            names = [str(entry["file"]) for entry in json.loads((self.folder / LISTING).read_text())]
        except (OSError, ValueError, KeyError, TypeError):
            return
        for name in names:
            if Path(name).name == name:
                (self.folder / name).unlink(missing_ok=True)


def save_all(api: Api, path: str, results: Json, plots: Json, folder: Path) -> Saver:
    """Fetches plots, reports, enriched datasets, models and the executed notebook. Raises ApiError."""
    saver = Saver(api, folder)
    for plot in plots["outputs"]:
        kind = str(plot.get("contentType") or plot["outputType"])
        title = str(plot.get("title") or plot["cellId"])
        ending = ENDINGS.get(kind) or mimetypes.guess_extension(kind.partition(";")[0]) or ".bin"
        saver.fetch(plot["downloadUrl"], _named("plot", title), ending, f"chart: {title}")
    for report in results["reports"]:
        saver.fetch(report["downloadUrl"], _named("report", report["name"]), ".html", f"report: {report['name']}")
    for enriched in results["enrichedDatasets"]:
        what = f"the log with {len(enriched['newColumns'])} new columns, {enriched['recordCount']:,} rows"
        saver.fetch(enriched["downloadUrl"], _named("enriched", enriched["name"]), ".csv", what)
    for model in results["models"]:
        what = f"model: {model['modelType']}; load it with pickle, if you trust the notebook"
        saver.fetch(model["downloadUrl"], _named("model", model["name"]), ".pkl", what)
    saver.fetch(f"{path}/notebook", "executed-notebook", ".ipynb", "the notebook with all outputs; opens in JupyterLab")
    return saver


def _named(kind: str, name: str) -> str:
    """The name with what it is before it, unless it says so itself."""
    return name if kind in name.lower() else f"{kind}-{name}"


def _slug(text: str) -> str:
    """A text as a file name that every system takes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "file"
