"""Reading an explain document, whatever the server, the engine and the command.

`planner` reads what one query planner says of one collection, its tree by `classic` or `slot_based`;
`pipeline` the stages of an aggregation around such parts; `sharded` what a mongos gathers of them. Each
gives a `part.Part`. Pure, and made for servers to come: an unknown stage is a stage with its name.
"""
