"""What a notebook's environment asks for, what a lock says, and a resolver's words made fit to show. Pure, no I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

BUNDLED_LIBRARIES = frozenset({"process_mining_utils", "mindzie_sdk"})
"""Libraries that every kernel has (SPEC.md: Datasets and libraries)."""

SDK = "mindzie-sdk"
"""The distribution that brings them; it comes with the base environment and from no index."""

OWN = frozenset({canonicalize_name(name) for name in BUNDLED_LIBRARIES})
"""Names that are never looked up in an index: what stands there under such a name would be somebody else's."""

WORDS_LENGTH = 2_000
"""The most of a resolver's message that is shown, in characters; what matters comes first."""

KEY_LENGTH = 32
"""Hex digits of a hash in names of files and environments: 128 bits."""

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
_NOISE = re.compile(r"^(warning: |Using (Python|CPython) |Resolved \d|Prepared \d|Downloading |Creating virtual )")
_LABEL = re.compile(r"^\s*(?:(?:error|cause|caused by|hint): *|[\u00d7\u2570\u251c]\S* +)", re.IGNORECASE)
"""What uv begins a sentence with: a word, or a cross or branch drawn before it."""

_URL = re.compile(r"\b[a-z][a-z0-9+.-]{0,30}+://[^\s)`'\"]++", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w/.])/(?:[^\s/`'\":()]+/)*([^\s/`'\":()]+)/?")


class EnvironmentBuildError(Exception):
    """The environment cannot be had; the message says which requirement and why, in words for the notebook's owner."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One distribution of a lock: its name in normal form, its version, and the lock's lines about it."""

    name: str
    version: str
    text: str


def requirements(texts: Iterable[str]) -> list[Requirement]:
    """The packages asked for, each once, in order; raises EnvironmentBuildError for what is no name of a package.

    Addresses and files are refused: what is installed comes from the index that the operator has chosen.
    """
    found: dict[str, Requirement] = {}
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise EnvironmentBuildError(f"{text!r} is not a valid requirement: {_one_line(str(error))}") from error
        if requirement.url is not None:
            raise EnvironmentBuildError(
                f"{requirement.name}: packages are taken from the package index only, not from an address; give its "
                "name and perhaps its version"
            )
        requirement.name = canonicalize_name(requirement.name)
        found[str(requirement)] = requirement
    return [found[text] for text in sorted(found)]


def satisfied(requirement: Requirement, installed: Mapping[str, str], markers: Mapping[str, str]) -> bool:
    """Whether a set of distributions (normal names and versions) has it. What an extra adds, only a resolver knows."""
    if requirement.marker is not None and not requirement.marker.evaluate(dict(markers)):
        return True
    version = installed.get(canonicalize_name(requirement.name))
    if version is None or requirement.extras:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def foreign(wanted: Iterable[Requirement], installed: Mapping[str, str]) -> list[Requirement]:
    """The requirements that an index can be asked for; raises EnvironmentBuildError for another version of our own."""
    found = []
    for requirement in wanted:
        if requirement.name not in OWN:
            found.append(requirement)
        elif (own := installed.get(SDK)) and not requirement.specifier.contains(own, prereleases=True):
            raise EnvironmentBuildError(f"{requirement.name} comes with every environment, in version {own} only")
    return found


def pins(lock: str) -> list[Pin]:
    """What a lock in requirements.txt form installs, in its order."""
    found: list[Pin] = []
    for line in lock.splitlines():
        match = _PIN.match(line)
        if match is not None:
            found.append(Pin(name=canonicalize_name(match[1]), version=match[2], text=line))
        elif found and line[:1].isspace():
            last = found.pop()
            found.append(Pin(name=last.name, version=last.version, text=f"{last.text}\n{line}"))
    return found


def lock_of(parts: Iterable[Pin]) -> str:
    """The lock that says `parts`, by name."""
    return "".join(f"{pin.text}\n" for pin in sorted(parts, key=lambda pin: pin.name))


def pins_of(installed: Mapping[str, str]) -> list[Pin]:
    """The pins of what is installed, by name and version alone."""
    return [Pin(name=name, version=version, text=f"{name}=={version}") for name, version in sorted(installed.items())]


def key_of(*parts: object) -> str:
    """A name for `parts` (JSON values) that others do not have."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:KEY_LENGTH]


def words_of(output: str) -> str:
    """A resolver's own words on one line: without its labels, local paths, and addresses of indexes."""
    sentences: list[str] = []
    for line in output.splitlines():
        if not line.strip() or _NOISE.match(line):
            continue
        said, labels = _LABEL.subn("", line)
        if labels or not sentences:
            sentences.append(said.strip())
        else:
            sentences[-1] += f" {line.strip()}"
    text = _one_line(" ".join(one if one.endswith((".", ":", "!")) else f"{one}." for one in sentences))
    text = _PATH.sub(r"\1", _URL.sub("the package index", text))
    return text if len(text) <= WORDS_LENGTH else f"{text[: WORDS_LENGTH - 2].rstrip()} …"


def _one_line(text: str) -> str:
    return " ".join(text.split())
