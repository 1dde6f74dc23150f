"""What a run of the program loads: the list in tests/golden/imports.txt, so that start-up doesn't grow unseen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import loading
import pytest
from conftest import PYMONGO

if TYPE_CHECKING:
    from pathlib import Path


def golden(name: str) -> list[str]:
    """Return the paragraph of one run."""
    paragraphs = loading.GOLDEN.read_text(encoding="utf-8").split("\n\n")
    (found,) = (paragraph for paragraph in paragraphs if paragraph.startswith(f"[{name}]"))
    return found.splitlines()


def test_each_run_is_in_the_list() -> None:
    named = re.findall(r"^\[(.+)\]$", loading.GOLDEN.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [*loading.WITHOUT_SERVER, *loading.WITH_SERVER]


@pytest.mark.parametrize("name", [*loading.WITHOUT_SERVER, *loading.WITH_SERVER])
def test_a_run_loads_what_the_list_says(name: str, server_uri: str, dbname: str, tmp_path: Path) -> None:
    words = {**loading.WITHOUT_SERVER, **loading.WITH_SERVER}[name]
    env = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname, "_MOTORCTL_LINE": "motorctl st"}
    modules = loading.loaded(words, {**env, "XDG_CONFIG_HOME": str(tmp_path)})
    expected, found = golden(name), loading.listing(name, modules).splitlines()
    if PYMONGO:
        expected = [line.replace(" gridfs", "") for line in expected]  # it is Motor that imports it
    update = "`python tests/loading.py --write` keeps the new list: look at what it costs first"
    assert found[:-1] == expected[:-1], update
    # What Python's own modules import differs from version to version: less is no news, and what one of those on
    # the list brings with it is none of ours.
    known = set(expected[-1].split()) - {"of", "Python:", "none"}
    if news := set(found[-1].split()) - set(expected[-1].split()):
        assert not news - loading.brought(known), update


def test_each_package_that_is_loaded_has_its_reason() -> None:
    packages = re.findall(r"^  packages: (.+)$", loading.GOLDEN.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for line in packages for name in line.split()} - {"none"} <= loading.WHY.keys()
    assert "pydantic" not in " ".join(packages)
    assert "rich" not in " ".join(packages)
