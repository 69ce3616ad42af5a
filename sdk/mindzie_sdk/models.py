"""Writes fitted models: as a pickle, by joblib, or as ONNX or skops files where those libraries are installed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindzie_sdk.errors import NotSavableError

FORMATS = ("pickle", "joblib", "onnx", "skops")

FRAMEWORKS = {"sklearn": "scikit-learn", "torch": "pytorch"}  # where the import name is not the product's name


@dataclass(frozen=True, slots=True)
class ModelFile:
    """How a model becomes a file."""

    suffix: str
    write: Callable[[Path], None]


def model_file(model: object, form: str, features: int) -> ModelFile:
    """Chooses how to write the model. `features` is how many numbers it takes, which ONNX needs to know. Raises
    NotSavableError for an unknown form and for a library that is not there."""
    if form == "pickle":
        return ModelFile(".pkl", lambda path: _guarded(model, path, _pickle))
    if form == "joblib":
        _needed("joblib", form)
        return ModelFile(".joblib", lambda path: _guarded(model, path, _joblib))
    if form == "skops":
        _needed("skops", form)
        return ModelFile(".skops", lambda path: _guarded(model, path, _skops))
    if form == "onnx":
        if hasattr(model, "SerializeToString"):  # converted already
            return ModelFile(".onnx", lambda path: _guarded(model, path, _onnx_bytes))
        _needed("skl2onnx", form)
        return ModelFile(".onnx", lambda path: _guarded(model, path, lambda one, to: _sklearn_onnx(one, to, features)))
    raise NotSavableError(f"a model cannot be saved as {form!r}: use one of {', '.join(FORMATS)}")


def framework_of(model: object) -> str:
    """The library a model comes from; `python` for a class of the notebook's own."""
    root = type(model).__module__.partition(".")[0]
    return "python" if root in {"builtins", "__main__"} else FRAMEWORKS.get(root, root)


def _needed(module: str, form: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise NotSavableError(f"saving as {form!r} needs {module}: add it to the notebook's environment.packages")


def _guarded(model: object, path: Path, write: Callable[[Any, Path], None]) -> None:
    try:
        write(model, path)
    except OSError:
        raise
    except Exception as error:  # whatever a class's own reduction code, or a converter, raises
        word = "pickled" if write is _pickle else "saved in this format"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotSavableError(f"this {type(model).__name__} cannot be {word}: {reason}") from error


def _pickle(model: Any, path: Path) -> None:
    with path.open("wb") as stream:
        pickle.dump(model, stream, protocol=5)


def _joblib(model: Any, path: Path) -> None:
    import joblib

    joblib.dump(model, path, compress=3)


def _skops(model: Any, path: Path) -> None:
    import skops.io

    with path.open("wb") as stream:
        skops.io.dump(model, stream)


def _onnx_bytes(model: Any, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def _sklearn_onnx(model: Any, path: Path, features: int) -> None:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    count = features or int(getattr(model, "n_features_in_", 0)) or None
    converted = to_onnx(model, initial_types=[("features", FloatTensorType([None, count]))])
    path.write_bytes(converted.SerializeToString())
