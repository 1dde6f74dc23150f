"""The three names that `client.py` and the tests take from Motor, as PyMongo has them. Nothing is evened out here."""

from __future__ import annotations

from pymongo.asynchronous.collection import AsyncCollection as AsyncIOMotorCollection
from pymongo.asynchronous.database import AsyncDatabase as AsyncIOMotorDatabase
from pymongo.asynchronous.mongo_client import AsyncMongoClient as AsyncIOMotorClient

__all__ = ["AsyncIOMotorClient", "AsyncIOMotorCollection", "AsyncIOMotorDatabase"]
