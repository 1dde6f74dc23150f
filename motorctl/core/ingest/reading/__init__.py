"""Bytes in, chunks of whole records out: nothing here parses a record.

source      opens files and stdin            compressed  undoes compression and encodings
layout      tells how records lie in bytes   feed        the text from the last border on
split       cuts it at borders               structure, delimited   find them in JSON and in tables
reader      does all of it in a thread, a few chunks ahead
"""
