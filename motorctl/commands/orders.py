"""`motorctl orders`: place one, look at one, list them. The steps of one are `orders_steps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands import orders_steps
from motorctl.commands.records import PAGE_SIZE, DryRunOption, FilterOption, window
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.core.orders.place import Request, Wanted
    from motorctl.core.records import Query

group = typer.Typer(help="Place orders against the stock; complete, cancel and refund them.")

COLUMNS = ("id", "user_id???", "products", ">qty??", ">amount", "status", "created_at?")
"""`>` marks numbers, each `?` what a narrow terminal goes without sooner."""
"""Characters that a table needs for two ids of 24."""

OrderArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The order's id: the key it was placed with.")
]


def _statuses() -> list[str]:
    from motorctl.core.orders.document import STATUSES

    return list(STATUSES)


@group.command("place")
def place(
    ctx: typer.Context,
    user: Annotated[str, typer.Option(metavar="ID", help="Who orders: 24 hexadecimal digits.")],
    product: Annotated[str | None, typer.Option(metavar="ID", help="Which product; with --qty.")] = None,
    qty: Annotated[int | None, typer.Option(metavar="N", min=1, help="How many of it.")] = None,
    line: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID:N[@AMOUNT]",
            help="N of a product, at the inventory's price or at AMOUNT; again for each product of the order.",
        ),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT", help="What one piece costs; of one product.  [default: the inventory's]"
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The order's id; with the same key it is placed once.  [default: made]"
        ),
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Place an order: take its pieces from the stock and insert it as pending, both or neither.

    The price of a product is the inventory's, unless one is given; the amount is quantity x price, exact,
    with two digits behind the point or as many as the price has. Too little stock of one product is exit
    code 6 and nothing is ordered; a product or a user that isn't there is 5.
    The same --key with the same arguments is the same order: it is shown as it is now, `replayed`, and no stock
    is taken; with other arguments it is refused (6). Without --key one is made and told on stderr before anything is
    written. Exit code 9: the answer was lost; `orders get KEY` tells, and the same command with --key is safe.

    Example:
      motorctl orders place --user 64b7f0c2a1b2c3d4e5f60718 --product tea --qty 2
      motorctl orders place --user 64b7f0c2a1b2c3d4e5f60718 --line tea:2 --line mug:1@7.50 --key basket-4711
      motorctl orders place --user 64b7f0c2a1b2c3d4e5f60718 --line mug:3 --dry-run
    """
    from motorctl.core.orders import place as placing

    app: App = ctx.obj
    request = placing.request(key, placing.user(user), _lines(product, qty, line or (), price))
    app.run(_place(app, request, dry_run=dry_run))


@group.command("get")
def get(ctx: typer.Context, id: OrderArgument) -> None:
    """Show one order, as a majority of the servers has it.

    It reads only. Exit code 5 if there is none with this id.

    Example:
      motorctl orders get 64b7f0c2a1b2c3d4e5f60718
    """
    app: App = ctx.obj
    app.run(_get(app, id))


@group.command("list")
def list_(
    ctx: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="pending, completed, cancelled or refunded; may be repeated.",
            autocompletion=_statuses,
        ),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="The orders of one user.")] = None,
    filter: FilterOption = None,
    sort: Annotated[
        str | None, typer.Option(metavar="A,-B", help="By A, then by B from the highest.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most that many.")] = None,
    skip: Annotated[int | None, typer.Option(min=0, metavar="N", help="Leave out the first ones.")] = None,
    page: Annotated[int | None, typer.Option(min=1, metavar="N", help="A page, from 1.")] = None,
    page_size: Annotated[int | None, typer.Option(min=1, metavar="N", help=f"Default {PAGE_SIZE}.")] = None,
    all: Annotated[bool, typer.Option("--all", help="All of them, streamed.")] = False,
) -> None:
    """List orders, the newest first: a page, or all of them.

    It reads only. Without an option the first page. --all streams: memory stays flat whatever the number.

    Example:
      motorctl orders list --status pending
      motorctl orders list --user 64b7f0c2a1b2c3d4e5f60718 --page 2 --page-size 50
      motorctl orders list --filter '{"lines.product_id": "tea"}' --all -o ndjson
    """
    from motorctl import arguments
    from motorctl.commands.revenue_orders import one_of
    from motorctl.core.orders import place as placing
    from motorctl.core.orders.document import STATUSES
    from motorctl.core.records import Query

    app: App = ctx.obj
    for one in status or ():
        one_of(one, STATUSES, "--status")
    conditions: list[dict[str, Any]] = [{"status": {"$in": status}}] if status and len(status) > 1 else []
    if status and len(status) == 1:
        conditions.append({"status": status[0]})
    if user is not None:
        conditions.append({"user_id": placing.user(user)})
    if filter is not None:
        conditions.append(arguments.document(app, filter, "--filter"))
    skipped, limited = window(limit, skip, page, page_size, all=all)
    chosen = conditions[0] if len(conditions) == 1 else {"$and": conditions} if conditions else {}
    query = Query(filter=chosen, sort=arguments.sort(sort), skip=skipped, limit=limited)
    app.run(_list(app, query, None if limit is not None or all else (page or 1) + 1))


group.command("complete")(orders_steps.complete)
group.command("cancel")(orders_steps.cancel)
group.command("refund")(orders_steps.refund)


def _lines(product: str | None, qty: int | None, lines: Sequence[str], price: str | None) -> list[Wanted]:
    """Return what is ordered. Raises UsageError (2) for options that don't go together."""
    from dataclasses import replace

    from motorctl.core import inventory
    from motorctl.core.orders.place import Wanted, line_of

    if (product is None) == (not lines):
        raise UsageError("give --product and --qty for one product, or --line ID:N for each")
    if product is not None and qty is None:
        raise UsageError("--product needs --qty: how many of it")
    if product is None and qty is not None:
        raise UsageError("--qty goes with --product; a line has its own: --line ID:N")
    wanted = [line_of(one) for one in lines] if product is None else [Wanted(product, qty or 0)]
    if price is None:
        return wanted
    if len(wanted) > 1 or wanted[0].price is not None:
        raise UsageError("--price is the price of one product", hint="a line has its own: --line tea:2@4.50")
    return [replace(wanted[0], price=inventory.price_of(price))]


async def _place(app: App, request: Request, *, dry_run: bool) -> None:
    from motorctl.core.orders import document
    from motorctl.core.orders import place as placing

    async with app.connect() as db:
        known = await app.attempt(placing.ready, db, request.user)
        if dry_run:
            planned = placing.plan(request, await app.attempt(placing.look, db, request, user=known))
            order = dict(planned.order)
            if request.key_made:
                del order["_id"]
            app.output.emit(orders_steps.told(app, document.shown(order, replayed=planned.replayed)))
            app.diagnostics.dry_run()
            return
        if request.key_made and known:
            app.diagnostics.info(
                f"key {request.key}: should no answer come, `motorctl orders get {request.key}` has it",
                key=str(request.key),
            )
        with orders_steps.stopped(app, str(request.key)):
            done = await placing.place(db, request, user=known, seconds=app.settings.timeout)
        # No await from here on: a stop that came with the commit's answer waits for the next one.
        with app.output.after(f"order {request.key} is placed", f"motorctl orders get {request.key}"):
            app.output.emit(orders_steps.told(app, document.shown(done.order, replayed=done.replayed)))


async def _get(app: App, id: str) -> None:
    from motorctl.core.orders import document

    async with app.connect() as db:
        order = await app.attempt(document.get, db, id)
    app.output.emit(orders_steps.told(app, document.shown(order)))


async def _list(app: App, query: Query, next_page: int | None) -> None:
    from motorctl.core.orders import document
    from motorctl.output import Column

    table = [Column(name.strip(">?"), right=name.startswith(">"), spare=name.count("?")) for name in COLUMNS]
    async with app.connect() as db:
        rows = app.rows(document.find, db, query)
        if app.output.format not in ("json", "ndjson"):
            rows = ({**row, "products": orders_steps.products(row)} async for row in rows)
        count = await app.output.stream(rows, table)
    if next_page and count == query.limit and app.output.terminal:
        app.diagnostics.info(f"--page {next_page} shows the next ones, --all shows all")
