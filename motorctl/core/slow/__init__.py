"""Slow queries: what a server has seen of them, put together by their shape.

`profiler`, `running` and `query_stats` read what there is, each as `Operation`s; `shapes` cuts the
values out of a query, `groups` puts together what has one shape. Nothing here runs a query again:
`core.explain` does, when it is asked to.
"""
