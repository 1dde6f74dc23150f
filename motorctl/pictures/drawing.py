"""Panels -> SVG. pygal places bars, lines, labels and guides; how they look is `chart.css`.

What pygal adds for its own pages is taken out again: scripts, style sheets, tooltips. Decides nothing of
what is drawn.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from rich.cells import cell_len, set_cell_size

from motorctl.pictures.panels import plain, short, shown, thinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.pictures.panels import Panel
    from motorctl.pictures.picture import Picture

_SVG = "http://www.w3.org/2000/svg"
FONT = 12
_WIDEST_BAR = 80
_CHARACTER = 0.6 * FONT
"""The width that pygal reckons with for one character."""


class Size(NamedTuple):
    """A drawing for one width of a page: units are CSS pixels where it isn't scaled."""

    name: str
    width: int
    height: int
    longest_label: int


WIDE, NARROW = Size("wide", 880, 300, 34), Size("narrow", 400, 260, 16)


def style() -> str:
    """Return the style sheet of a chart: its colours for light, dark and paper."""
    return resources.files("motorctl.pictures").joinpath("chart.css").read_text(encoding="utf-8")


def file(picture: Picture, drawn: Sequence[Panel]) -> str:
    """Return a file that holds title, charts and legends, and can stand in an <img>."""
    size, pad, y = WIDE, 24, 24
    root = ET.Element("svg", {"xmlns": _SVG, "class": "file", "role": "img", "aria-labelledby": "title desc"})
    _child(root, "title", {"id": "title"}, shown(picture.title))
    _child(root, "desc", {"id": "desc"}, f"{shown(picture.subtitle)} {description(picture, drawn)}".strip())
    _child(root, "style", {}, style())
    background = _child(root, "rect", {"class": "paper", "width": "100%", "height": "100%"})
    for text, look, height, cells in (
        (picture.title, "heading", 16, 80),
        (picture.subtitle, "muted", 14, 120),
    ):
        if text:
            y += height
            _child(root, "text", {"class": look, "x": str(pad), "y": str(y)}, _cut(shown(text), cells))
            y += 6
    y += 10
    for panel in (*drawn, None)[: len(drawn) or 1]:
        if panel is not None and (panel.heading or len(panel.series) > 1):
            y = _legend(root, panel, pad, y + 16, size.width) + 10
        chart, height = _laid_out(panel, size, picture.nothing)
        chart.set("transform", f"translate({pad} {y})")
        root.append(chart)
        y += height + 14
    width, height = size.width + 2 * pad, y + 10
    root.set("viewBox", f"0 0 {width} {height}")
    root.set("width", str(width))
    root.set("height", str(height))
    background.set("height", str(height))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def element(panel: Panel | None, size: Size, name: str, description: str, nothing: str) -> ET.Element:
    """Return one chart as an element for an HTML page; `name` is what its ids begin with."""
    chart, height = _laid_out(panel, size, nothing)
    root = ET.Element(
        "svg",
        {
            "class": f"chart {size.name}",
            "viewBox": f"0 0 {size.width} {height}",
            "role": "img",
            "aria-labelledby": f"{name}-title",
            "aria-describedby": f"{name}-desc",
        },
    )
    # In a group of its own: a <title> of the whole drawing would be a tooltip over all of it.
    described = _child(root, "g", {})
    _child(described, "title", {"id": f"{name}-title"}, (panel.heading if panel else "") or "chart")
    _child(described, "desc", {"id": f"{name}-desc"}, description)
    root.append(chart)
    return root


def description(picture: Picture, drawn: Sequence[Panel]) -> str:
    """Return the sentences that stand for the charts."""
    said = [f"{panel.heading}: {panel.summary}" if panel.heading else panel.summary for panel in drawn]
    return " ".join(said) or shown(picture.nothing)


def _child(
    parent: ET.Element, tag: str, attributes: Mapping[str, str], text: str | None = None
) -> ET.Element:
    child = ET.SubElement(parent, tag, dict(attributes))
    child.text = text
    return child


def _legend(root: ET.Element, panel: Panel, left: int, y: int, width: int) -> int:
    """Write a chart's heading and the names of its series; return where the last line of them stands."""
    group, x = _child(root, "g", {"class": "legend"}), float(left)
    if panel.heading:
        heading = _cut(panel.heading, 60)
        _child(group, "text", {"class": "subheading", "x": f"{x:g}", "y": f"{y}"}, heading)
        x += cell_len(heading) * _CHARACTER * 1.1 + 20
    for series in panel.series if len(panel.series) > 1 else ():
        name = _cut(series.name, 24)
        length = 15 + cell_len(name) * _CHARACTER
        if x + length > left + width:
            x, y = float(left), y + 18
        square = {"class": series.look, "width": "10", "height": "10"}
        _child(group, "rect", {**square, "x": f"{x:g}", "y": f"{y - 9}"})
        _child(group, "text", {"class": "muted", "x": f"{x + 15:g}", "y": f"{y}"}, name)
        x += length + 14
    return y


def _cut(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


@dataclass(frozen=True)
class _Scale:
    """Numbers as pygal is given them: parts of the greatest, so that no size is too great for a float."""

    unit: Decimal

    def __call__(self, value: Decimal) -> float:
        return float(value / self.unit)

    def bar(self, value: Decimal, least: float) -> float:
        """Return the end of a bar. What is almost nothing can be seen: it is not nothing."""
        end = self(value)
        return end if not value or abs(end) >= least else math.copysign(least, end)


def _laid_out(panel: Panel | None, size: Size, nothing: str) -> tuple[ET.Element, int]:
    """Return a group with a chart at 0, 0, and its height."""
    if panel is None or not any(v is not None for s in panel.series for v in s.values):
        group = ET.Element("g", {"class": "empty"})
        height = 120
        _child(group, "path", {"class": "line", "d": f"M0 {height - 20}h{size.width}"})
        middle = {"x": f"{size.width / 2:g}", "y": f"{height / 2:g}", "class": "nothing"}
        _child(group, "text", middle, shown(nothing))
        return group, height
    chart, height = _ranking(panel, size) if panel.kind == "ranking" else _over_time(panel, size)
    # no_prefix: the style sheet is ours; js: pygal would load a script from the network.
    found = ET.fromstring(chart.render())  # noqa: S314 - pygal wrote it a moment ago
    graph = next(child for child in found if child.get("class", "").startswith("graph"))
    return _cleaned(graph, panel), height


def _pygal() -> Any:
    """Import pygal without its finder of maps: that is of a kind that Python 3.12 no longer asks, and 3.11 warns of."""
    import pygal
    import pygal.style

    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]
    return pygal


def _options(size: Size, height: int, **more: Any) -> dict[str, Any]:
    fonts = ("label", "major_label", "value")
    return {
        "width": size.width,
        "height": height,
        "style": _pygal().style.Style(**{f"{name}_font_size": FONT for name in fonts}),
        "js": (),
        "no_prefix": True,
        "show_legend": False,
        "truncate_label": -1,
        "spacing": 6,
        "margin": 2,
        **more,
    }


def _over_time(panel: Panel, size: Size) -> tuple[Any, int]:
    pygal = _pygal()
    marks, labels = panel.marks, panel.labels
    scale = _Scale(max(abs(marks[0]), abs(marks[-1])))
    height = size.height if panel.kind != "line" else size.height * 2 // 3
    plot = size.width - panel.margin * _CHARACTER - 10
    widest = max(map(cell_len, labels)) * _CHARACTER
    written = thinned(labels, int(plot / (widest + 16)))
    step = plot / len(labels)
    own = max(len(short(mark)) for mark in marks)
    options = _options(
        size,
        height,
        range=(scale(marks[0]), scale(marks[-1])),
        y_labels=[{"label": short(mark), "value": scale(mark)} for mark in marks],
        # More than pygal reckons: an M is wider than its characters are on average.
        margin_left=6 + (panel.margin - own) * _CHARACTER,
        # A label stands in the middle under its bar, and may be wider: the last one needs room.
        margin_right=max(2, (widest / 2 - (len(labels) - 1 - written[-1] + 0.5) * step)),
    )
    several = len(panel.series) > 1
    pixel = scale(marks[-1] - marks[0]) / height
    if panel.kind == "line":
        # By places, not by labels: pygal's Line begins at the edge, and the bars above don't.
        chart = pygal.XY(xrange=(0, len(labels)), show_dots=len(labels) == 1, dots_size=3, **options)
        chart.x_labels = [{"label": labels[i], "value": i + 0.5} for i in written]
    else:
        chart = (pygal.StackedBar if panel.kind == "stacked" else pygal.Bar)(
            show_minor_x_labels=False, x_labels_major=[labels[i] for i in written], **options
        )
        chart.x_labels = list(labels)
        # A bar of a hand's breadth says nothing more: pygal has no option for their width.
        beside = 1 if panel.kind == "stacked" else len(panel.series)
        chart._series_margin = max(0.06, (1 - beside * _WIDEST_BAR / step) / 2)  # noqa: SLF001 - pygal has no option for it
    for series in panel.series:
        values: list[Any] = []
        for i, (label, value) in enumerate(zip(labels, series.values, strict=True)):
            if panel.kind == "line":
                values.append((i + 0.5, None if value is None else scale(value)))
                continue
            text = f"{label}{f' · {series.name}' if several else ''}: {plain(value)}"
            end = None if value is None else scale.bar(value, 0 if panel.kind == "stacked" else pixel)
            values.append({"value": end, "formatter": lambda _, text=text: text})
        chart.add(series.name, values)
    return chart, height


def _ranking(panel: Panel, size: Size) -> tuple[Any, int]:
    pygal = _pygal()
    (series,) = panel.series
    low, high = panel.limits
    scale = _Scale(max(abs(low), abs(high)) or Decimal(1))
    labels = [_cut(label, size.longest_label) for label in panel.labels]
    texts = [plain(value) for value in series.values]
    # pygal counts characters; some have two cells, and the numbers beside the bars it doesn't count.
    extra = max(max(map(cell_len, labels)) - max(map(len, labels)), 0) * _CHARACTER
    plot = size.width - max(map(len, labels)) * _CHARACTER - extra - 10
    beside = min((max(map(len, texts)) * _CHARACTER + 12) / plot, 0.45)
    span = float((high - low) / scale.unit) or 1.0
    sides = 2 if low < 0 < high else 1
    room = span * beside / (1 - sides * beside)
    height = 26 * len(labels) + 8
    values = []
    for index, value in enumerate(series.values):
        drawn = (
            value if value is not None and (index not in panel.rest or low <= value <= high) else Decimal(0)
        )
        text = texts[index] + ("" if drawn == value or value is None else " (off the scale)")
        values.append({"value": scale.bar(drawn, span / plot), "formatter": lambda _, text=text: text})
    chart = pygal.HorizontalBar(
        **_options(
            size,
            height,
            range=(scale(low) - (room if low < 0 else 0), scale(high) + (room if high > 0 or not low else 0)),
            show_x_labels=False,
            show_y_guides=False,
            print_values=True,
            print_values_position="top",
            margin_left=2 + extra,
        )
    )
    # pygal begins at the bottom.
    chart.x_labels = labels[::-1]
    chart.add(series.name, values[::-1])
    return chart, height


_WHOLE = "whole"
"""The attribute in which a label keeps its whole text until it gets its tooltip."""
_LOOSE = re.compile(r"-?\d+\.\d{2,}")


def _cleaned(graph: ET.Element, panel: Panel) -> ET.Element:
    """Return pygal's drawing with what we need of it: short numbers, our classes, native tooltips."""
    looks = {f"serie-{i}": series.look for i, series in enumerate(panel.series)}
    if panel.kind == "ranking":
        _mark(graph, panel)
    group = ET.Element("g", {"class": f"is-{panel.kind}"})
    for part in graph:
        kept = _kept(part, looks, panel)
        if kept is not None:
            group.append(kept)
    return group


def _kept(node: ET.Element, looks: Mapping[str, str], panel: Panel) -> ET.Element | None:
    tag = node.tag.rpartition("}")[2]
    classes = (node.get("class") or "").split()
    if tag in ("desc", "title") or "background" in classes or "tooltip-overlay" in classes:
        return None
    copy = ET.Element(tag)
    for key, value in node.items():
        if key == "class":
            kept = [looks.get(word, word) for word in classes if word in _CLASSES or word in looks]
            if kept:
                copy.set("class", " ".join(kept))
        elif not (key in ("rx", "ry", _WHOLE) or value == "translate(0, 0)"):
            copy.set(key, _LOOSE.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), value))
    copy.text = node.text
    if tag == "rect" and 0 in (float(node.get("height", 0)), float(node.get("width", 0))):
        return None
    for child in node:
        if (kept_child := _kept(child, looks, panel)) is not None:
            copy.append(kept_child)
    said = node.get(_WHOLE)
    if "bar" in classes and len(copy):
        said = next((d.text for d in node.iter(f"{{{_SVG}}}desc") if d.get("class") == "value"), None)
    if said:
        _child(copy, "title", {}, said)
    if tag == "g" and not len(copy):
        return None
    return copy


_CLASSES = frozenset(
    "axis x y guides guide line major series bars bar plot overlay text-overlay value dots dot rest".split()
)


def _mark(graph: ET.Element, panel: Panel) -> None:
    """Tell the bar, the label and the number of the rest; put numbers beside their bars; keep whole names."""
    (series,) = panel.series
    bars = [node for node in graph.iter(f"{{{_SVG}}}g") if node.get("class") == "bar"]
    texts = list(graph.iter(f"{{{_SVG}}}text"))
    numbers = [node for node in texts if node.get("class") == "value"]
    labels = [node for node in texts if node.get("class") != "value"]
    places = range(len(panel.labels) - 1, -1, -1)
    for index, bar, text, label in zip(places, bars, numbers, labels, strict=True):
        value = series.values[index]
        below = value is not None and value < 0 and index not in panel.rest
        text.set("text-anchor", "end" if below else "start")
        if label.text != panel.labels[index]:
            label.set(_WHOLE, panel.labels[index])
        for node in (bar, text, label) if index in panel.rest else ():
            node.set("class", f"{node.get('class') or ''} rest")
        for description in bar.iter(f"{{{_SVG}}}desc"):
            if description.get("class") == "value":
                description.text = f"{panel.labels[index]}: {plain(value)}"
