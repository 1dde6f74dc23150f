"""A suite's outcomes as JUnit XML, as Jenkins, GitLab and GitHub's report actions read it. Pure.

The form is the one that Jenkins' xUnit plugin has as a schema (`junit-10.xsd`) and GitLab's "Unit test
reports" describe: `testsuites` > `testsuite` > `testcase` with one `failure` or `error`, times in seconds.
Writes no file.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.core.explain.suite import Outcome

# What XML 1.0 has no way to write (section 2.2, Char), whether escaped or not.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(name: str, outcomes: Sequence[Outcome], properties: Mapping[str, str] | None = None) -> bytes:
    """Return the report of one suite, UTF-8. `name` is the suite's file; `properties` say what it ran against."""
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(sum(one.word == "FAILED" for one in outcomes)),
        "errors": str(sum(one.word == "error" for one in outcomes)),
        "time": _seconds(sum(one.seconds for one in outcomes)),
    }
    top = ET.Element("testsuites", {"name": "motorctl explain suite", **counts})
    suite = ET.SubElement(top, "testsuite", {"name": _legal(name), **counts, "skipped": "0"})
    if properties:
        listed = ET.SubElement(suite, "properties")
        for key, value in sorted(properties.items()):
            ET.SubElement(listed, "property", {"name": _legal(key), "value": _legal(value)})
    for outcome in outcomes:
        _case(suite, name, outcome)
    ET.indent(top)
    text: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _case(suite: ET.Element, name: str, outcome: Outcome) -> None:
    attributes = {"name": outcome.case.name, "classname": name, "file": name}
    case = ET.SubElement(
        suite,
        "testcase",
        {key: _legal(value) for key, value in attributes.items()} | {"time": _seconds(outcome.seconds)},
    )
    if outcome.error is not None:
        error = outcome.error
        wrong = ET.SubElement(case, "error", {"message": _legal(error.message), "type": error.code})
        wrong.text = _legal("\n".join(filter(None, [error.message, error.hint and f"hint: {error.hint}"])))
    elif outcome.failures:
        # One element: readers take the first and leave the rest.
        kinds = ",".join(dict.fromkeys(failure.gate for failure in outcome.failures))
        wrong = ET.SubElement(case, "failure", {"message": _legal(outcome.text), "type": _legal(kinds)})
        wrong.text = _legal("\n".join(f"{failure.gate}: {failure.text}" for failure in outcome.failures))
    if outcome.plan is not None:
        row = outcome.row()
        figures = ("verdict", "index", "returned", "keys_examined", "docs_examined", "ms", "in_memory_sort")
        lines = [f"{key}: {json.dumps(row[key], ensure_ascii=False)}" for key in figures]
        ET.SubElement(case, "system-out").text = _legal("\n".join([*lines, *outcome.better, *outcome.notes]))


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _legal(text: str) -> str:
    r"""Write what XML can't hold as Python would: `\x00`."""
    return _ILLEGAL.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\x20" else f"\\u{ord(found[0]):04x}", text
    )
