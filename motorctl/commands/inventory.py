"""`motorctl inventory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.commands.records import PAGE_SIZE, DryRunOption, FilterOption, window
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App
    from motorctl.core.records import Query

group = typer.Typer(help="What is sold, at which price, and how many are there.")

COLUMNS = ("id", "name", ">price", ">stock")

ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="The product's id.")]
Name = Annotated[str | None, typer.Option(metavar="TEXT", help="What it is called.")]
Price = Annotated[str | None, typer.Option(metavar="AMOUNT", help="What one piece costs, as 4.50.")]


@group.command("add")
def add(
    ctx: typer.Context,
    product: ProductArgument,
    name: Name = None,
    price: Price = None,
    stock: Annotated[int, typer.Option(metavar="N", min=0, help="How many are there.")] = 0,
    dry_run: DryRunOption = False,
) -> None:
    """Add a product that isn't there yet, and show it.

    An id that is taken is exit code 6, and nothing is changed: `inventory set` changes what is there.

    Example:
      motorctl inventory add kettle --name "Kettle, 1.7 l" --price 24.90 --stock 12
      motorctl inventory add kettle --price 24.90 --dry-run
    """
    from motorctl.core import inventory

    app: App = ctx.obj
    amount = None if price is None else inventory.price_of(price)
    app.run(_add(app, product, inventory.new(product, name, amount, stock), dry_run=dry_run))


@group.command("set")
def set_(
    ctx: typer.Context,
    product: ProductArgument,
    name: Name = None,
    price: Price = None,
    stock: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="How many are there, whatever it was.")
    ] = None,
    add: Annotated[
        int | None, typer.Option(metavar="N", help="So many more, or fewer with a minus; never below zero.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Change what is given of a product, and show it after.

    --stock is what was counted; --add is a delivery, or a loss: what is sold at the same instant counts too.
    --name and --price may be run twice; --add adds twice, and --stock brings back what was sold in between. So if
    the answer to one of these is lost that is exit code 9: `inventory get` shows the stock. A product that isn't
    there is 5; fewer than none is 6.

    Example:
      motorctl inventory set tea --price 4.80 --stock 96
      motorctl inventory set tea --add 24
      motorctl inventory set mug --add -1 --dry-run
    """
    from motorctl.core import inventory

    app: App = ctx.obj
    if stock is not None and add is not None:
        raise UsageError(
            "--stock and --add exclude each other", hint="--stock is the whole, --add the change"
        )
    amount = None if price is None else inventory.price_of(price)
    fields = inventory.changes(name, amount, stock)
    if not fields and add is None:
        raise UsageError("nothing to set: give --name, --price, --stock or --add")
    app.run(_set(app, product, fields, add, dry_run=dry_run))


@group.command("get")
def get(ctx: typer.Context, product: ProductArgument) -> None:
    """Show one product.

    It reads only. Exit code 5 if there is none with this id.

    Example:
      motorctl inventory get tea
    """
    app: App = ctx.obj
    app.run(_get(app, product))


@group.command("list")
def list_(
    ctx: typer.Context,
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
    """List products by their ids: a page, or all of them.

    It reads only. Without an option the first page. --all streams: memory stays flat whatever the number.

    Example:
      motorctl inventory list
      motorctl inventory list --filter '{"stock": {"$lt": 20}}' --sort stock
      motorctl inventory list --all -o csv
    """
    from motorctl import arguments
    from motorctl.core.records import Query

    app: App = ctx.obj
    skipped, limited = window(limit, skip, page, page_size, all=all)
    chosen = arguments.document(app, filter, "--filter")
    query = Query(filter=chosen, sort=arguments.sort(sort), skip=skipped, limit=limited)
    app.run(_list(app, query, None if limit is not None or all else (page or 1) + 1))


async def _add(app: App, product: str, document: dict[str, Any], *, dry_run: bool) -> None:
    from motorctl.core import inventory

    async with app.connect() as db:
        if dry_run:
            await app.attempt(inventory.free, db, product)
            app.diagnostics.dry_run()
            app.output.emit(inventory.shown(document))
            return
        document = await inventory.add(db, product, document, seconds=app.settings.timeout)
        with app.output.after(f"{product} is added", f"motorctl inventory get {product}"):
            app.output.emit(inventory.shown(document))


async def _set(app: App, product: str, fields: dict[str, Any], by: int | None, *, dry_run: bool) -> None:
    from motorctl.core import inventory

    async with app.connect() as db:
        if dry_run:
            before = await app.attempt(inventory.get, db, product)
            after = {**before, **fields, **({} if by is None else {"stock": inventory.moved(before, by)})}
            app.diagnostics.dry_run()
            app.output.emit(inventory.shown(after))
            return
        seconds = app.settings.timeout
        if by is None:
            after = await app.attempt(inventory.set_, db, product, fields, seconds=seconds)
        else:
            after = await inventory.move(db, product, by, fields, seconds=seconds)
        with app.output.after(f"{product} is changed", f"motorctl inventory get {product}"):
            app.output.emit(inventory.shown(after))


async def _get(app: App, product: str) -> None:
    from motorctl.core import inventory

    async with app.connect() as db:
        app.output.emit(inventory.shown(await app.attempt(inventory.get, db, product)))


async def _list(app: App, query: Query, next_page: int | None) -> None:
    from motorctl.core import inventory
    from motorctl.output import Column

    table = [Column(name.removeprefix(">"), right=name.startswith(">")) for name in COLUMNS]
    async with app.connect() as db:
        count = await app.output.stream(app.rows(inventory.find, db, query), table)
    if next_page and count == query.limit and app.output.terminal:
        app.diagnostics.info(f"--page {next_page} shows the next ones, --all shows all")
