"""Explain: what a server did, or would do, for a query, in words that hold.

`query` is what is explained, `ask` sends it, `read` (with `reading`, a module a form) turns any server's
answer into a `plan`; `verdict`, `ratio`, `summary`, `access`, `gates` and `baseline` are pure functions of a plan.
`advice` says what would help, `trial` tries an index on a sample copy, `suite` holds many queries to their gates.
"""
