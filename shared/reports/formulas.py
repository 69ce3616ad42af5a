"""Formulas as MathML, which browsers draw without any script; what cannot be read is shown as it was written."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

MAX_FORMULA = 20_000
"""Longest formula that is converted, in characters."""

_PARTS = re.compile(
    r"\$\$(?P<dollars>.+?)\$\$"
    r"|\\\[(?P<brackets>.+?)\\\]"
    r"|\\\((?P<parens>.+?)\\\)"
    r"|(?P<environment>\\begin\{(?P<name>[a-z]+\*?)\}.+?\\end\{(?P=name)\})"
    r"|(?<![\\$])\$(?P<dollar>[^$]+?)\$",
    re.DOTALL,
)

_DISPLAY = re.compile(r"^\s*\\displaystyle\b")


def of_latex(text: str) -> str:
    """A LaTeX output (text with formulas in it) as HTML."""
    parts: list[str] = []
    position = 0
    for match in _PARTS.finditer(text):
        parts.append(_words(text[position : match.start()]))
        position = match.end()
        inline = match["parens"] or match["dollar"]
        if inline is not None:
            # sympy writes its results as an inline formula in display style; alone, it is a display.
            alone = match[0].strip() == text.strip()
            parts.append(formula(inline, block=alone and bool(_DISPLAY.match(inline))))
        else:
            parts.append(formula(match["dollars"] or match["brackets"] or match["environment"], block=True))
    parts.append(_words(text[position:]))
    return "".join(parts)


def formula(latex: str, *, block: bool) -> str:
    """One formula as MathML."""
    source = _DISPLAY.sub("", latex)
    try:
        if len(source) > MAX_FORMULA:
            raise ValueError("too long")
        return str(convert(source.strip(), display="block" if block else "inline"))
    except Exception:  # the converter raises whatever it stumbles over
        tag = "pre" if block else "code"
        return f'<{tag} class="formula">{html.escape(latex.strip())}</{tag}>'


def _words(text: str) -> str:
    return html.escape(text)
