"""The page that reports are printed on: one HTML file with everything in it. Indonesian first, English after it."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from plotly.offline import get_plotlyjs

from clients.rush.report.drawing import Chart

Words = tuple[str, str]
"""In Indonesian and in English, as HTML."""


def page(title: Words, body: str, charts: Iterable[Chart]) -> str:
    """The whole file."""
    figures = {chart.name: json.loads(chart.figure.to_json()) for chart in charts}
    return Template(files("clients.rush.report").joinpath("report.html").read_text("utf-8")).substitute(
        title=escape(title[0]),
        heading=heading("h1", title),
        body=body,
        plotly=get_plotlyjs(),
        figures=json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c"),
    )


def heading(tag: str, words: Words) -> str:
    """A heading with its English beside it."""
    return f'<{tag}>{escape(words[0])} <span class="en" lang="en">{escape(words[1])}</span></{tag}>'


def both(words: Words) -> str:
    """A paragraph in both languages; the words are HTML."""
    return f'<p>{words[0]}</p><p class="en" lang="en">{words[1]}</p>'


def section(title: Words, *cards: str) -> str:
    """A part of the page, or nothing when it has no cards."""
    inside = "".join(cards)
    return f'<section>{heading("h2", title)}<div class="cards">{inside}</div></section>' if inside else ""


def columns(*cards: str) -> str:
    """Cards in two columns of like height, which a phone puts one below the other."""
    return f'<div class="columns wide">{"".join(cards)}</div>' if any(cards) else ""


def card(title: Words, inside: str, *, wide: bool = True) -> str:
    """A card with a title."""
    return f'<article class="card{" wide" * wide}">{heading("h3", title)}{inside}</article>'


def chart_card(chart: Chart | None) -> str:
    """A card with a chart, its legend and what one sees; nothing for no chart."""
    if not chart:
        return ""
    says = f'<p class="says">{escape(chart.words[0])} <span class="en" lang="en">{escape(chart.words[1])}</span></p>'
    drawn = f'<div class="chart" id="{chart.name}" role="img" aria-label="{escape(chart.title[0])}"></div>'
    return card(chart.title, says + _legend(chart) + drawn, wide=chart.wide)


def table(head: Sequence[Words | str], body: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table of HTML cells; numbers are the columns that have numbers."""
    right = set(numbers)

    def cell(tag: str, n: int, inside: str) -> str:
        return f"<{tag}{' class=number' if n in right else ''}>{inside}</{tag}>"

    titles = [f'{w[0]} <span class="en" lang="en">{w[1]}</span>' if isinstance(w, tuple) else w for w in head]
    lines = ["".join(cell("th", n, title) for n, title in enumerate(titles))]
    lines += ["".join(cell("td", n, inside) for n, inside in enumerate(row)) for row in body]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def facts(pairs: Iterable[tuple[str, str, str]]) -> str:
    """A list of facts: words, English words, what it is (plain text)."""
    return "<dl>{}</dl>".format(
        "".join(
            f'<dt>{escape(words)} <span class="en" lang="en">{escape(english)}</span></dt><dd>{escape(fact)}</dd>'
            for words, english, fact in pairs
        )
    )


def _legend(chart: Chart) -> str:
    items = [("box", words, colour) for words, colour in chart.keys] or _named_traces(chart)
    if len(items) < 2:
        return ""
    keys = "".join(
        f'<li class="{kind}" style="--key:{colour}">{_both_words(words)}</li>' for kind, words, colour in items
    )
    return f'<ul class="legend">{keys}</ul>'


def _both_words(words: str) -> str:
    own, _, english = words.partition(" · ")
    return escape(own) + (f' <span class="en" lang="en">{escape(english)}</span>' if english else "")


def _named_traces(chart: Chart) -> list[tuple[str, str, str]]:
    """Their looks, names and colours."""
    items = {}
    for trace in chart.figure.data:
        if trace.type == "bar" and trace.name:
            items[trace.name] = "box", trace.name, trace.marker.color
        elif trace.type == "scatter" and trace.name:
            filled = trace.fill in {"tozeroy", "tonexty"} and trace.line.width < 2
            items[trace.name] = "box" if filled else trace.line.dash or "solid", trace.name, trace.line.color
    return list(items.values())
