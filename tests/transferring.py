"""A process that makes transfers as the program does, many with one client: `python transferring.py FILE`.

Requests come from FILE, one JSON object a line; each answer goes to stdout as a line, at once. Where a transfer
was not made, or nobody knows, it is sent again with the same key, mostly; now and then it is given up.
It judges nothing: what the answers have to be, `answers` says.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from motorctl import client, settings
from motorctl.core.transfers import ledger
from motorctl.core.transfers.post import post
from motorctl.core.transfers.request import Request
from motorctl.diagnostics import Diagnostics
from motorctl.driver_errors import translated
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.client import Database

AGAIN = (3, 9)
MOST_ATTEMPTS = 20
GIVES_UP = 0.15


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two transfers, about")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds for a transfer")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asyncio.run(_all(asked))


async def _all(asked: argparse.Namespace) -> None:
    lines = iter(asked.file.read_text().splitlines())
    chance = random.Random(asked.seed)
    found = settings.load({"timeout": str(asked.limit)}, os.environ)
    async with client.connect(found, Diagnostics(io.StringIO())) as db:
        await asyncio.gather(*(_one_after_the_other(db, lines, asked, chance) for _ in range(asked.at_once)))


async def _one_after_the_other(
    db: Database, lines: Iterator[str], asked: argparse.Namespace, chance: random.Random
) -> None:
    for line in lines:
        wanted = json.loads(line)
        request = Request(
            key=wanted["key"],
            source=wanted["from"],
            target=wanted["to"],
            amount=Decimal(wanted["amount"]),
            note=wanted.get("note"),
        )
        for _ in range(MOST_ATTEMPTS):
            answer = await _sent(db, request, asked.limit)
            sys.stdout.write(json.dumps(answer, default=str) + "\n")
            sys.stdout.flush()
            if answer["exit"] not in AGAIN or chance.random() < GIVES_UP:
                break
        await asyncio.sleep(chance.uniform(0, 2 * asked.pause))


async def _sent(db: Database, request: Request, limit: float) -> dict[str, Any]:
    begun = time.monotonic()
    row, error = None, None
    try:
        (outcome,) = await post(db, [request], seconds=limit)
    except MotorctlError as refused:
        error = refused
    except PyMongoError as failed:
        error = translated(failed, db.client, limit)
    else:
        error = outcome.refused
        if error is None:
            assert outcome.record is not None
            row = ledger.shown(outcome.record, replayed=outcome.replayed)
    return {
        "key": request.key,
        "exit": int(error.exit_code) if error else 0,
        "seconds": round(time.monotonic() - begun, 3),
        "row": row,
        "said": error and error.message,
    }


if __name__ == "__main__":
    main()
