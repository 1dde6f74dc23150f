"""From what is there and what should be to changes: pure, and never wiser than the server's rules.

`plan` puts them in order; `collections`, `indexes` and `search` know a kind each, `capabilities` is the
table of what is changed how, `impossible` what no server takes, `commands` what the server is sent.
"""
