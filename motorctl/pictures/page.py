"""The HTML page of a report: a tree of elements, written out by the standard library, which escapes all text.

A template engine would be one more dependency, and its escaping a setting; of a tree nothing but elements
and text can be made. The charts of pygal are trees already. Only the style sheets, files of ours, are raw.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from motorctl import __version__
from motorctl.formats import brief
from motorctl.pictures import drawing
from motorctl.pictures.panels import panels, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from motorctl.formats import Column
    from motorctl.pictures.panels import Panel
    from motorctl.pictures.picture import Picture

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a browser may do with the page: nothing but show it, whatever somebody finds to get into it."""


def page(
    picture: Picture, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], now: datetime | None
) -> str:
    """Return the whole file."""
    drawn = panels(picture, rows, columns)
    made = (now or datetime.now(UTC)).astimezone(UTC)
    css = resources.files("motorctl.pictures").joinpath("page.css").read_text(encoding="utf-8")
    root = _node(
        "html",
        {"lang": "en"},
        _node(
            "head",
            {},
            _node("meta", {"charset": "utf-8"}),
            _node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            _node("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}),
            _node("meta", {"name": "referrer", "content": "no-referrer"}),
            _node("meta", {"name": "color-scheme", "content": "light dark"}),
            _node("meta", {"name": "generator", "content": f"motorctl {__version__}"}),
            _node("title", {}, picture.title),
            _style(css + drawing.style()),
        ),
        _node("body", {}, _node("main", {}, *_content(picture, drawn, rows, columns, made))),
    )
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _content(
    picture: Picture,
    drawn: Sequence[Panel],
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    made: datetime,
) -> Iterator[ET.Element]:
    header = _node("header", {}, _node("h1", {}, picture.title))
    if picture.subtitle:
        header.append(_node("p", {"class": "subtitle"}, picture.subtitle))
    yield header
    for index, panel in enumerate((*drawn, None)[: len(drawn) or 1]):
        yield _figure(picture, panel, f"chart-{index + 1}")
    yield _table(picture, rows, columns)
    if picture.notes:
        notes = _node("ul", {}, *(_node("li", {}, note) for note in picture.notes))
        yield _node(
            "section",
            {"class": "notes", "aria-labelledby": "notes"},
            _node("h2", {"id": "notes"}, "Notes"),
            notes,
        )
    stamp = _node("time", {"datetime": made.isoformat(timespec="seconds")}, f"{made:%Y-%m-%d %H:%M} UTC")
    yield _node("footer", {}, f"Made by motorctl {__version__}, ", stamp)


def _figure(picture: Picture, panel: Panel | None, name: str) -> ET.Element:
    figure = _node("figure", {})
    legend = panel.series if panel and len(panel.series) > 1 else ()
    if panel and (panel.heading or legend):
        caption = _node("figcaption", {})
        if panel.heading:
            caption.append(_node("strong", {}, panel.heading))
        for series in legend:
            caption.append(_node("span", {"class": "key"}, _swatch(series.look), series.name))
        figure.append(caption)
    # Two drawings, of which one is shown: a drawing for a desk scaled to a telephone can't be read.
    said = drawing.description(picture, [panel] if panel else [])
    for size in (drawing.WIDE, drawing.NARROW):
        figure.append(drawing.element(panel, size, f"{name}-{size.name}", said, picture.nothing))
    return figure


def _swatch(look: str) -> ET.Element:
    # A drawing, not a background: browsers print without those.
    square = _node("rect", {"class": look, "width": "12", "height": "12", "rx": "2"})
    return _node("svg", {"class": "swatch", "viewBox": "0 0 12 12", "aria-hidden": "true"}, square)


def _table(picture: Picture, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> ET.Element:
    looks = {c.key: _look(c, rows) for c in columns}
    head = _node("tr", {}, *(_cell("th", looks[c.key], {"scope": "col"}, c.heading) for c in columns))
    body = _node("tbody", {})
    for row in rows:
        count = row.get(picture.rest) if picture.rest else None
        rest = isinstance(count, int) and count > 1
        line = _node("tr", {"class": "rest"} if rest else {})
        for index, column in enumerate(columns):
            tag, scope = ("th", {"scope": "row"}) if index == 0 else ("td", {})
            line.append(_cell(tag, looks[column.key], scope, brief(row.get(column.key))))
        body.append(line)
    if not rows:
        body.append(
            _node(
                "tr",
                {},
                _node("td", {"class": "nothing", "colspan": str(max(1, len(columns)))}, picture.nothing),
            )
        )
    caption = _node("caption", {}, f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}")
    table = _node("table", {}, caption, _node("thead", {}, head), body)
    # It can be scrolled sideways where it is too wide, so it has to be reached by the keyboard.
    return _node("div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "table"}, table)


def _look(column: Column, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the class of a column: numbers to the right, short values on one line, ids small."""
    if column.right:
        return "number"
    texts = [brief(row.get(column.key)) for row in rows]
    if max(map(len, texts), default=0) <= 16:
        return "short"
    return "long" if any(" " in text for text in texts) else "id"


def _cell(tag: str, look: str, attributes: Mapping[str, str], text: str) -> ET.Element:
    return _node(tag, {**attributes, **({"class": look} if look else {})}, text)


def _node(tag: str, attributes: Mapping[str, str], *children: ET.Element | str) -> ET.Element:
    """Return an element; a text among its children is text, whatever it holds."""
    node = ET.Element(tag, {key: shown(value) for key, value in attributes.items()})
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, ET.Element):
            node.append(child)
            last = child
            if tag in _BLOCKS:
                child.tail = "\n"
        elif last is None:
            node.text = (node.text or "") + shown(child)
        else:
            last.tail = (last.tail or "") + shown(child)
    return node


_BLOCKS = frozenset(("html", "head", "body", "main", "table", "thead", "ul"))


def _style(css: str) -> ET.Element:
    style = ET.Element("style")
    style.text = css  # raw in HTML: files of ours, in which nothing is filled in
    return style
