"""A file of transfers, carried out row by row, in parallel, each row once.

    record      a record's text -> the texts of its fields (pure)
    rows        the records of an input, numbered, with key and request
    keys        the key that a row without one gets (pure): an interface, as keys are looked up later
    schedule    which rows may be sent together, and which have to wait (pure)
    sent        what the ledger holds of the rows already
    engine      joins them: chunks of rows posted in parallel, a clean end
    whole       all rows in one transaction, or none
    rehearsal   the same decisions on the balances that are there, and nothing written
    books       read = committed + replayed + rejected; the rejects and the results

Whether money may move is decided by `transfers.plan`, and nowhere here. Files are read by the readers of
`core.ingest`.
"""
