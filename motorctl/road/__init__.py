"""The road to a server below the driver: names, sockets, TLS, the first words of the protocol.

The driver says that no server was reached; this room says where the road ends. It opens connections of
its own, one after the other things that the driver does at once, and closes them again. It must never
write to a server, send a password or print: what was found are `Step`s, which `commands/doctor.py` shows.
"""
