"""The programs that draw charts in a report: Plotly's and Vega's own, and a few lines that start them."""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

START = """
(function () {
  const described = id => JSON.parse(document.querySelector(`script[data-of="${id}"]`).textContent);
  const failed = (place, error) => { place.textContent = "This chart could not be drawn: " + error; };
  const drawn = [...document.querySelectorAll("[data-chart]")].map(async place => {
    try {
      const chart = described(place.id);
      if (place.dataset.chart === "plotly") {
        const layout = Object.assign({height: 450}, chart.layout);
        if (!layout.width) layout.autosize = true;
        await Plotly.newPlot(place, chart.data || [], layout, {responsive: true, displaylogo: false});
        if (chart.frames) await Plotly.addFrames(place, chart.frames);
      } else {
        await vegaEmbed(place, chart, {actions: false, renderer: "svg"});
      }
    } catch (error) { failed(place, error); }
  });
  window.atelierDrawn = Promise.all(drawn).then(() => document.documentElement.setAttribute("data-drawn", "yes"));
})();
"""
"""Draws every chart from the description beside it; `atelierDrawn` is kept when all are there."""


def plotly() -> str:
    """Plotly's program, from its Python package."""
    import plotly as package  # noqa: PLC0415 - its version alone takes long to import

    return _embeddable((Path(package.__file__).parent / "package_data" / "plotly.min.js").read_text("utf-8"))


def vega(cache: Path) -> str:
    """Vega's programs, from vl-convert, which takes seconds to put them together: kept in `cache` from then on."""
    import vl_convert  # noqa: PLC0415 - loads a JavaScript engine

    kept = cache / f"vega-{version('vl-convert-python')}.js"
    try:
        return kept.read_text("utf-8")
    except FileNotFoundError:
        text = _embeddable(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # the text is optional
    try:
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(text, "utf-8")
        partial.replace(kept)
    except OSError:
        return text  # it is made again next time
    return text


def _embeddable(program: str) -> str:
    """A program that may stand inside a script element of a page. `<\\/` means the same within JavaScript's texts."""
    return re.sub(r"</(?=script)", r"<\\/", program, flags=re.IGNORECASE).replace("<!--", r"<\!--")
