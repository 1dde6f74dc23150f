"""Chunks in, BSON out: pure, and so fit for another process.

decode      the way of a chunk               table       delimited text, by column
types       what a cell becomes              dates       formats and zones of dates
shape       renamed, kept and left-out fields, models
"""
