"""What motorctl does: one module a noun, async functions that take a database first.

Nothing here knows a terminal, a setting or how a connection is made.
"""
