"""`motorctl transfer`: its verbs, each in a module of its own. Holds nothing else."""

from __future__ import annotations

import typer

from motorctl.commands import transfer_batch, transfer_send, transfer_show, transfer_verify

group = typer.Typer(help="Move money between accounts, once or not at all.")

group.command("send")(transfer_send.send)
group.command("show")(transfer_show.show)
group.command("list")(transfer_show.list_)
group.command("reverse")(transfer_send.reverse)
group.command("batch")(transfer_batch.batch)
group.command("verify")(transfer_verify.verify)
