"""BSON in, outcomes out: the only part of the engine that holds a collection.

write       the door: batches and modes      send        one command, until it is answered
keyed       the modes that look for a document            unique      when an insert is safe for them
rehearse    what a dry run tells             rules       a validator, taken apart
elements    BSON cut without decoding
"""
