"""`motorctl orders complete`, `cancel` and `refund`; and how an order is told in a table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands.records import DryRunOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.app import App
    from motorctl.core.orders.steps import Step

OrderArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The order's id: the key it was placed with.")
]


def complete(ctx: typer.Context, id: OrderArgument, dry_run: DryRunOption = False) -> None:
    """Mark a pending order as completed, with the time.

    An order that is completed already stays as it is (`replayed`, exit code 0). One that is cancelled or
    refunded is exit code 6; so it is when somebody cancels it at the same instant and is first.

    Example:
      motorctl orders complete 64b7f0c2a1b2c3d4e5f60719
      motorctl orders complete 64b7f0c2a1b2c3d4e5f60719 --dry-run
    """
    from motorctl.core.orders.steps import Step

    app: App = ctx.obj
    app.run(_take(app, id, Step("complete"), dry_run=dry_run))


def cancel(
    ctx: typer.Context,
    id: OrderArgument,
    no_restock: Annotated[
        bool, typer.Option("--no-restock", help="Leave the stock as it is: its pieces aren't put back.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Cancel a pending order and put its pieces back into the stock, both or neither, and once.

    An order that is cancelled already stays as it is, and so does the stock (`replayed`, exit code 0). One that
    is completed or refunded is exit code 6. So is one of a product that the inventory no longer has, or that
    doesn't say how many: with --no-restock it is cancelled all the same.

    Example:
      motorctl orders cancel 64b7f0c2a1b2c3d4e5f60719
      motorctl orders cancel 64b7f0c2a1b2c3d4e5f60719 --no-restock
    """
    from motorctl.core.orders.steps import Step

    app: App = ctx.obj
    app.run(_take(app, id, Step("cancel", restock=not no_restock), dry_run=dry_run))


def refund(
    ctx: typer.Context,
    id: OrderArgument,
    restock: Annotated[
        bool, typer.Option("--restock", help="Put its pieces back into the stock: they came back unharmed.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Mark a completed order as refunded; with --restock put its pieces back into the stock, both or neither.

    It moves no money: that is `motorctl transfer`. An order that is refunded already stays as it is (`replayed`,
    exit code 0), unless --restock asks for what was not done then: that, and any other status, is 6.

    Example:
      motorctl orders refund 64b7f0c2a1b2c3d4e5f60718
      motorctl orders refund 64b7f0c2a1b2c3d4e5f60718 --dry-run -o json
    """
    from motorctl.core.orders.steps import Step

    app: App = ctx.obj
    app.run(_take(app, id, Step("refund", restock=restock), dry_run=dry_run))


async def _take(app: App, id: str, step: Step, *, dry_run: bool) -> None:
    from motorctl.core import transactions
    from motorctl.core.orders import document, steps

    async with app.connect() as db:
        if dry_run:
            made = steps.plan(step, await app.attempt(steps.look, db, id, step))
            app.output.emit(told(app, document.shown(made.order, replayed=made.replayed)))
            app.diagnostics.dry_run()
            return
        await app.attempt(transactions.require, db)
        with stopped(app, id):
            made = await steps.take(db, id, step, seconds=app.settings.timeout)
        # No await from here on: a stop that came with the commit's answer waits for the next one.
        with app.output.after(f"order {id} is {made.order['status']}", f"motorctl orders get {id}"):
            app.output.emit(told(app, document.shown(made.order, replayed=made.replayed)))


@contextmanager
def stopped(app: App, id: str) -> Iterator[None]:
    """Say of a stop before the commit that nothing was done: one after it leaves here with the result."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError:
        # Also with -q: whoever stops it has to know.
        app.diagnostics.warning(f"stopped before the commit: nothing was written (order {id})", order=id)
        raise


def told(app: App, order: dict[str, Any]) -> dict[str, Any]:
    """Put the lines of an order into words, where people read them: as `--line` takes them, and the amount."""
    lines = order.get("lines")
    if not isinstance(lines, list) or app.output.format not in ("table", "markdown"):
        return order
    return {**order, "lines": ", ".join(map(_line, lines))}


def products(order: dict[str, Any]) -> str:
    """Return what an order is of, in one cell: the product, or its lines as `--line` takes them."""
    product = order.get("product") if order.get("product_id") is None else order["product_id"]
    lines = order.get("lines")
    if product is not None or not isinstance(lines, list):
        return "" if product is None else str(product)
    return ", ".join(f"{_named(line)}:{line.get('qty', '?')}" for line in lines if isinstance(line, dict))


def _line(line: Any) -> str:
    if not isinstance(line, dict):
        return str(line)
    price = f"@{line['price']}" if "price" in line else ""
    amount = f" = {line['amount']}" if "amount" in line else ""
    return f"{_named(line)}:{line.get('qty', '?')}{price}{amount}"


def _named(line: dict[str, Any]) -> str:
    product = line.get("product") if line.get("product_id") is None else line["product_id"]
    return "?" if product is None else str(product)
