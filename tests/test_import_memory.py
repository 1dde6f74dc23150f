"""Memory of an import: all processes of the program together, as its user starts it.

What is measured is `processes.Ended.peak`: the proportional set sizes of the whole tree. The limit is the
one that the project promises, for any size of input.
"""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from conftest import command
from processes import Ended, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Import = Callable[..., Ended]

LIMIT = 250_000_000
# By how much more than its third a file may take: what waits between the parts has no fixed size.
NEARLY = 1.25
MB = 1_000_000
# An order of the usual size: 333 bytes, and BSON of about as many.
RECORD = (
    b'{"order_no":"order-%08d","user_id":{"$oid":"6500012c0000000000000000"},'
    b'"created_at":{"$date":"2025-11-03T08:15:30.125Z"},"status":"completed","amount":117.42,'
    b'"ship_to":{"city":"Utrecht","postcode":"04711","gift":false},'
    b'"lines":[{"sku":"p-0815","qty":2,"price":40.21},{"sku":"p-0042","qty":1,"price":37.0}],'
    b'"tags":["web","gift"]}\n'
)


@pytest.fixture
def import_(server_uri: str, dbname: str) -> Iterator[Import]:
    """Import files, and look at what it takes; the server's room is given back."""

    def run(*arguments: str) -> Ended:
        # Without what measures coverage, which takes memory of its own.
        env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        target = {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}
        asked = command("import", *arguments, "--into", "c", "-o", "json")
        return watched(asked, {**env, **target}, limit=60)

    yield run
    with pymongo.MongoClient[dict[str, Any]](server_uri) as client:
        client.drop_database(dbname)


def orders(path: Path, size: int) -> tuple[Path, int]:
    """Write NDJSON of `size` bytes; return it, and how many records it has."""
    count = size // len(RECORD % 0)
    with path.open("wb") as file:
        file.writelines(RECORD % number for number in range(count))
    return path, count


def counts(ended: Ended) -> list[int]:
    summary = json.loads(ended.stdout or "{}")
    return [summary.get(name, -1) for name in ("read", "inserted", "rejected")]


@pytest.mark.parametrize(
    ("size", "options"), [(60 * MB, ()), (30 * MB, ("--workers", "0", "--resume"))], ids=["default", "alone"]
)
def test_a_large_file_takes_no_more_than_its_third(
    import_: Import, tmp_path: Path, size: int, options: tuple[str, ...]
) -> None:
    peaks = []
    for bytes_ in (size // 3, size):
        path, count = orders(tmp_path / f"{bytes_}.ndjson", bytes_)
        ended = import_(str(path), *options)
        assert (ended.code, counts(ended)) == (0, [count, count, 0]), ended.stderr
        peaks.append(ended.peak)
    assert max(peaks) < LIMIT
    assert peaks[1] < peaks[0] * NEARLY


def test_the_peak_is_that_of_all_processes(import_: Import, tmp_path: Path) -> None:
    """Workers count too: with more of them there is more memory to be seen."""
    path, _ = orders(tmp_path / "a.ndjson", 5 * MB)
    alone, four = (import_(str(path), "--workers", count).peak for count in ("0", "4"))
    assert four > alone + 4 * 5 * MB


def test_compressed_nothing_is_nothing(import_: Import, tmp_path: Path) -> None:
    """Of 300 MB in 2 MB nothing is left but the records around them."""
    path = tmp_path / "a.ndjson.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for number, space in enumerate((b" ", b"\n", b" ")):
            file.write(b'{"n":%d}\n' % number)
            for _ in range(100):
                file.write(space * MB)
            file.write(b"\n")
    ended = import_(str(path))
    assert (ended.code, counts(ended)) == (0, [3, 3, 0]), ended.stderr
    assert ended.peak < LIMIT


def test_records_that_are_all_refused_wait_nowhere(import_: Import, tmp_path: Path) -> None:
    """One is written, and then nothing is sent any more: the reasons mustn't keep what they speak of."""
    path, count = tmp_path / "a.ndjson", 150_000
    path.write_bytes(b'{"n":1}\n' + b'{"order_no":"order-00000000","lines":[{"sku":"p-0815",\n' * count)
    ended = import_(str(path), "--rejects", str(tmp_path / "rejects"))
    assert (ended.code, counts(ended)) == (7, [count + 1, 1, count]), ended.stderr
    assert ended.peak < LIMIT


def test_a_line_that_is_longer_than_any_document_is_one_reject(import_: Import, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    with path.open("wb") as file:
        file.write(b'{"n":1}\n{"n":"')
        for _ in range(200):
            file.write(b"x" * MB)
        file.write(b'"}\n{"n":3}\n')
    ended = import_(str(path))
    assert (ended.code, counts(ended)) == (7, [3, 2, 1]), ended.stderr
    assert f"{path}:2: " in ended.stderr
    assert ended.peak < LIMIT
