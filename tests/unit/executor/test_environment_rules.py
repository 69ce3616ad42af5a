"""What an environment's request means, how it is named, and what is left of a resolver's message."""

from __future__ import annotations

import pytest

from services.executor.environments import rules
from services.executor.environments.rules import EnvironmentBuildError

MARKERS = {"python_version": "3.11", "python_full_version": "3.11.2"}
INSTALLED = {"pandas": "3.0.1", "mindzie-sdk": "0.1.0"}
LOCK = "Humanize==4.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nabc==1.0\n    # via nothing\n"


def wanted(*packages: str) -> list[str]:
    return [str(one) for one in rules.requirements(packages)]


def test_order_case_and_repetition_make_no_difference() -> None:
    assert wanted("Humanize>=4", "abc", "humanize >= 4") == wanted("abc", "humanize>=4") == ["abc", "humanize>=4"]


@pytest.mark.parametrize(
    "text",
    ["-r /etc/passwd", "--index-url http://x", "a @ file:///etc/passwd", "a @ git+https://x/y", "../a", "a b", "a\nb"],
)
def test_only_names_of_packages_are_taken(text: str) -> None:
    with pytest.raises(EnvironmentBuildError):
        wanted(text)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("pandas", True),
        ("pandas>=3", True),
        ("pandas<3", False),
        ("pandas[excel]", False),
        ("inflection", False),
        ("inflection; python_version < '3.10'", True),
        ("inflection; python_version >= '3.10'", False),
    ],
)
def test_what_is_installed_satisfies(text: str, has: bool) -> None:
    (one,) = rules.requirements([text])
    assert rules.satisfied(one, INSTALLED, MARKERS) is has


def test_our_own_names_are_never_looked_up() -> None:
    asked = rules.requirements(["process_mining_utils", "Mindzie_SDK==0.1.0", "abc"])
    assert [one.name for one in rules.foreign(asked, INSTALLED)] == ["abc"]
    with pytest.raises(EnvironmentBuildError, match=r"in version 0\.1\.0 only"):
        rules.foreign(rules.requirements(["mindzie-sdk>1"]), INSTALLED)


def test_a_lock_is_read_and_written_with_its_hashes() -> None:
    found = rules.pins(LOCK)
    assert [(pin.name, pin.version) for pin in found] == [("humanize", "4.1"), ("abc", "1.0")]
    assert rules.pins(rules.lock_of(found)) == [found[1], found[0]]
    assert "--hash=sha256:bb" in rules.lock_of(found)


def test_keys_differ_where_anything_does() -> None:
    keys = {rules.key_of(*parts) for parts in [("a", "b"), ("ab",), ("b", "a"), (["a"], "b"), ("a", "b", None)]}
    assert len(keys) == 5
    assert all(len(key) == rules.KEY_LENGTH for key in keys)


MISSING = """Using Python 3.11.2 environment at: /srv/atelier/kernel
error: No solution found when resolving dependencies
  cause: Because nope was not found in the package registry and you require nope, we can conclude that your
    requirements are unsatisfiable.
"""
OLDER = """  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because there is no version of numpy==99 and you require numpy==99, it fails.
"""
UNREACHABLE = """error: Failed to fetch: `https://user:secret@index.example/simple/a/`
  cause: Could not read /srv/atelier/environments/cache/a.whl (os error 111)
"""


def test_a_resolvers_words_are_kept() -> None:
    words = rules.words_of(MISSING)
    assert words.startswith("No solution found when resolving dependencies. Because nope was not found in the package")
    assert words.endswith("conclude that your requirements are unsatisfiable.")
    assert rules.words_of(OLDER) == (
        "No solution found when resolving dependencies: Because there is no version of numpy==99 and you require "
        "numpy==99, it fails."
    )


def test_no_path_address_or_credential_is_shown() -> None:
    assert rules.words_of(UNREACHABLE) == ("Failed to fetch: `the package index`. Could not read a.whl (os error 111).")
    assert "/srv" not in rules.words_of(MISSING)


def test_a_long_message_ends_in_time() -> None:
    words = rules.words_of("error: " + "because " * 2_000)
    assert len(words) <= rules.WORDS_LENGTH
    assert words.endswith(" …")
