"""Gives the outputs of matplotlib figures their title, in metadata where results look for it.

IPython asks the hook by the name of a figure's type, so a kernel that shows no figure pays one entry in a dictionary.
The module stands alone: kernels that are started by a command line see nothing of the services and run its text.
"""

from __future__ import annotations

from typing import Any

LONGEST_TITLE = 300
"""Characters of a title at most."""


def register(shell: Any) -> None:
    """Have `shell` name every figure that it shows, however it is shown."""
    shell.display_formatter.mimebundle_formatter.for_type_by_name("matplotlib.figure", "Figure", _named)


def _named(figure: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """No form of the figure, which others make, but its title as metadata of the output."""
    try:
        title = _title(figure)
    except Exception:  # a figure that a notebook has made strange is shown without a title, not instead with an error
        title = ""
    return ({}, {"title": title}) if title else ({}, {})


def _title(figure: Any) -> str:
    """The title over the whole figure, else that of the one plot in it that has a title."""
    above = getattr(figure, "_suptitle", None)  # the getter is new in matplotlib 3.8
    titles = [above.get_text()] if above is not None and above.get_text().strip() else []
    if not titles:
        places = [(axes, place) for axes in figure.axes for place in ("center", "left", "right")]
        titles = [text for axes, place in places if (text := axes.get_title(loc=place)).strip()]
    return " ".join(titles[0].split())[:LONGEST_TITLE] if len(titles) == 1 else ""
