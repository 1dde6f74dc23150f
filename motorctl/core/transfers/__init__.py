"""Transfers between accounts: one transaction each, recorded in a ledger that is only added to.

    request   what is asked for: key, accounts, amount, note
    ledger    how a record and an account stand in the database, and how they are shown
    plan      pure: requests + accounts + records that are there -> what to write, what to answer
    adoption  the opening of an account that was there before the ledger
    post      the plan as one transaction: the only module that writes accounts' balances and the ledger
    reverse   the request that takes a transfer back
    show      what became of a key: committed, absent, in doubt
    listing   the ledger, newest first
    batch     a file of requests
    verify    whether the books balance: books (pipelines), examine (pure), snapshot (one instant)
    ready     what the ledger stands on: transactions, indexes

A ledger record is never changed and never deleted. Its `_id` is the idempotency key. It holds the balance
after it and the number of its entry on both sides (`from_entry`, `to_entry`: 1, 2, 3, ... of that account), so that
nothing can be missing unseen. An account holds `entries`, the number of its last one, and `opening`, so that at
every instant balance = opening + its ledger. An account that was there before gets its `opening` with its
first transfer: the balance less what older records of the ledger have moved.
"""
