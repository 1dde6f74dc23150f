"""PyMongo's own async client under Motor's name: what `client.py` and the tests run on with MOTORCTL_TEST_DRIVER=pymongo."""

from __future__ import annotations

import pymongo

version = f"PyMongo {pymongo.version} in its place"
