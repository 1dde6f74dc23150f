"""A report as a picture: one self-contained HTML page, or one SVG file. Strings only; writes nowhere.

`picture` is what is asked for, `panels` decides what is drawn (pure), `drawing` has pygal lay it out, `page`
writes the page around it. Both are trees until the last step: text is never pasted into markup, so no escape can be
forgotten. Neither has a script, and neither loads anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from motorctl.formats import Column
    from motorctl.pictures.picture import Picture


def html(
    picture: Picture,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    now: datetime | None = None,
) -> str:
    """Return a page: title, charts, the table of the rows, the notes, and when it was made (`now`, else now)."""
    from motorctl.pictures import page

    return page.page(picture, rows, columns, now)


def svg(picture: Picture, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column] = ()) -> str:
    """Return the charts alone, as a well-formed file of their own; `columns` have the words for legends."""
    from motorctl.pictures import drawing, panels

    return drawing.file(picture, panels.panels(picture, rows, columns))
