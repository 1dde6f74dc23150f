"""The state of imports, in the database that they write to: what `--resume` and `--part` rest on.

checkpoint  how far one is, saved            claim       who may work on it
fingerprint what makes it the same one       states      what is known of all
"""
