"""From a plan to the server: one result a change, and nothing lost when it is broken off.

`apply` goes through the changes, `catalog` sends what may be sent again, `rebuild` puts one index in the
place of others.
"""
