"""The steps of `motorctl doctor` before a host is looked for: the connection string, its file, SRV and TXT.

That options are understood is the driver's word: a client is opened as every command does it, and nothing is
sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import ssl

    from motorctl.commands.doctor_walk import Walk
    from motorctl.road.address import Address, Host
    from motorctl.road.model import Way
    from motorctl.road.step import Step


async def read(found: Walk) -> Way | None:
    """Take the steps before a host is looked for: the URI, then SRV and TXT. None where they end the road."""
    from motorctl.road import address as addresses
    from motorctl.road import resolver
    from motorctl.road.step import Status, Taking

    way: Way | None = None
    found.progress.update(text="connection string")
    with Taking(found.steps, "uri") as step:
        value = found.app.settings.address()
        found.address = addresses.read(str(value.value))
        written = found.address
        step.facts["source"] = value.source
        way = await _opened(found, step)
        step.message = _summed_up(written, value.source, found)
        for message in dict.fromkeys(found.heard.warnings):
            step.warn(
                message.removeprefix("connection string: "), "take it out, or write it as the driver does"
            )
        for path in found.app.settings.exposed():
            step.warn(f"{path} holds a password and others can read it", f"chmod 600 {path}")
    if way is None or found.address is None or not found.address.srv:
        return way
    found.progress.update(text="SRV and TXT")
    (name,) = found.address.hosts
    service = found.address.option("srvServiceName") or "mongodb"
    most = int(found.address.option("srvMaxHosts") or 0)
    hosts: list[Host] = []
    options: list[tuple[str, str]] = []
    with Taking(found.steps, "srv", name.name) as step:
        hosts = await resolver.seeds(name.name, service, found.seconds)
        step.message = ", ".join(map(str, hosts))
        step.facts["hosts"] = [str(host) for host in hosts]
    if step.status is Status.FAILED:
        return None
    with Taking(found.steps, "txt", name.name) as step:
        options = await resolver.options(name.name, found.seconds)
        step.message = "&".join(f"{key}={text}" for key, text in options) or "no record, which is fine"
    if step.status is Status.FAILED:
        return None
    found.address = found.address.to(hosts[:most] if most else hosts)
    for key, text in options:
        # What the URI says goes before what the record says.
        if found.address.option(key) is None:
            found.address = found.address.having(key, text)
    # Once more, with what the records say: a set's name, a load balancer.
    with Taking([], "uri"):
        return await _opened(found, step)
    return None


async def _opened(found: Walk, step: Step) -> Way | None:
    """Open a client without sending anything: it checks the options, and knows what they come to."""
    from pymongo.common import MAX_SUPPORTED_WIRE_VERSION, MIN_SUPPORTED_WIRE_VERSION

    from motorctl.road.model import Way

    written = found.address
    assert written is not None
    # mongodb+srv:// would be looked up here: that is a step of its own.
    found.address = written.to(written.hosts) if written.srv else written
    try:
        async with found.asking() as db:
            options = cast("Any", db.client).options
    finally:
        found.address = written
    pool: Any = options.pool_options
    found.direct = bool(options.direct_connection)
    found.balanced = bool(options.load_balanced)
    found.set_name = options.replica_set_name
    size = pool.max_pool_size
    found.pool_size = int(size) if size and size != float("inf") else None
    tls: ssl.SSLContext | None = pool._ssl_context  # noqa: SLF001 - the driver has no public word for it
    settings = pool._compression_settings  # noqa: SLF001 - as above
    credentials = pool._credentials  # noqa: SLF001 - as above
    scram = credentials is not None and credentials.mechanism in ("DEFAULT", "SCRAM-SHA-1", "SCRAM-SHA-256")
    step.facts |= {"tls": tls is not None, "max_pool_size": found.pool_size}
    profile = found.app.settings.driver_options
    certificate = written.option("tlsCertificateKeyFile") or profile.get("tlsCertificateKeyFile")
    return Way(
        seconds=found.seconds,
        wire_versions=(MIN_SUPPORTED_WIRE_VERSION, MAX_SUPPORTED_WIRE_VERSION),
        tls=tls,
        client_certificate=bool(certificate),
        stable_api=bool(found.app.settings["stable_api"]),
        load_balanced=found.balanced,
        compressors=tuple(settings.compressors) if settings else (),
        user=f"{credentials.source}.{credentials.username}" if scram else None,
    )


def _summed_up(address: Address, source: str, found: Walk) -> str:
    first, *others = address.hosts
    hosts = f"{len(others) + 1} hosts" if others else str(first)
    if address.srv:
        hosts = f"mongodb+srv://{first.name}"
    user = f", user {address.user}" if address.user else ""
    return f"{hosts}, database {found.app.settings.database().value}{user}; from {source}"
