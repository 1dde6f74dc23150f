"""The steps of `motorctl doctor` that need a server: compression, user, topology, primary, transactions, pool.

They go through the client of every other command, with the same options. Where a step can't be taken, it
says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.errors import AuthorizationError, MotorctlError, OutcomeUnknownError, UnreachableError

if TYPE_CHECKING:
    from motorctl.commands.doctor_walk import Walk
    from motorctl.core.doctor import Member
    from motorctl.road.model import Lane, Way
    from motorctl.road.topology import View


async def ask(walk: Walk, way: Way) -> None:
    """Take these steps as far as they make sense, and add them to the walk."""
    from motorctl.road.step import Status, skipped

    through = [lane for lane in walk.lanes if lane.through and lane.listed]
    if not through:
        return
    # The user is asked where the commands will go, if that host is known already.
    best = next((lane for lane in through if lane.hello.get("isWritablePrimary")), through[0])
    _compression(walk, way, best)
    welcome = await _auth(walk, way, best)
    seen = await _topology(walk, best, welcome=welcome)
    before = next((step.name for step in walk.steps if step.status is Status.FAILED), None)
    if before:
        walk.steps += [skipped(name, f"{before} failed") for name in ("primary", "transactions")]
    else:
        await _primary(walk, best)
        await _transactions(walk, seen)
    await _pool(walk, best, welcome=welcome)


def _compression(walk: Walk, way: Way, lane: Lane) -> None:
    """Compare what was asked for with what the server agreed to, in its hello."""
    from motorctl.road.step import Step, skipped

    assert walk.address is not None
    profile = walk.app.settings.driver_options.get("compressors") or ""
    asked = walk.address.option("compressors") or (profile if isinstance(profile, str) else ",".join(profile))
    if not asked:
        walk.steps.append(skipped("compression", "not asked for (compressors=zlib in the URI)"))
        return
    step = Step("compression", facts={"asked": asked.split(",")})
    agreed = [name for name in way.compressors if name in (lane.hello.get("compression") or ())]
    step.facts["agreed"] = agreed
    missing = [name for name in asked.split(",") if name not in way.compressors]
    step.message = f"{agreed[0]}, of {asked}" if agreed else ""
    if not agreed:
        step.warn(
            f"none: asked for {asked}, agreed to nothing",
            "the server must have it in net.compression.compressors, and this machine its Python package "
            "(python-snappy, zstandard; zlib is always there)",
        )
    elif missing:
        step.warn(
            f"not there on this machine: {', '.join(missing)}",
            "install its package: python-snappy, zstandard",
        )
    walk.steps.append(step)


async def _auth(walk: Walk, way: Way, lane: Lane) -> bool:
    """Ask the server who we are; return whether it takes us for somebody, or for nobody and doesn't mind."""
    from motorctl.core import doctor
    from motorctl.road.step import Status, Taking

    assert walk.address is not None
    walk.progress.update(text="user")
    with Taking(walk.steps, "auth", str(lane.host)) as step:
        options = walk.app.settings.driver_options
        mechanism = walk.address.option("authMechanism") or options.get("authMechanism")
        try:
            async with walk.asking(lane.host) as db:
                who = await doctor.identity(db)
                if who.user is None:
                    await doctor.wants_user(db)
        except MotorctlError as error:
            _explain(error, way, lane, mechanism)
            raise
        step.facts |= {"user": who.user, "roles": who.roles}
        if who.user is None:
            step.message = "no user given, and the server asks for none"
            if not lane.here:
                step.warn(
                    "whoever reaches it may read and write everything",
                    "switch access control on: security.authorization, and a user",
                )
        else:
            offered = lane.hello.get("saslSupportedMechs") or ()
            used = mechanism or ("SCRAM-SHA-256" if "SCRAM-SHA-256" in offered else "SCRAM-SHA-1")
            step.facts["mechanism"] = used
            step.message = f"{who.user} by {used}, roles: {', '.join(who.roles) or 'none'}"
            if not who.roles:
                step.warn("the user may do nothing", "grant a role: db.grantRolesToUser(USER, ['readWrite'])")
    return step.status is not Status.FAILED


def _explain(error: MotorctlError, way: Way, lane: Lane, mechanism: Any) -> None:
    """Say more of a refusal, by what the server told of the user before: which mechanisms it has, if it exists."""
    from motorctl.errors import AuthenticationError

    if not isinstance(error, AuthenticationError) or way.user is None:
        return
    offered = lane.hello.get("saslSupportedMechs")
    database, _, name = way.user.partition(".")
    if not offered:
        error.hint = (
            f"the server names no user {name} in the database {database}: check the name, and authSource "
            "(the database where the user was created, mostly admin)"
        )
    elif mechanism and mechanism not in offered:
        error.hint = (
            f"the user has {', '.join(offered)}: leave authMechanism={mechanism} out, or write one of these"
        )
    else:
        error.hint = (
            f"the user {name} is known in {database}: it is the password. In a URI @ : / ? # % are "
            "percent-encoded; --ask-password takes it as it is"
        )


async def _topology(walk: Walk, lane: Lane, *, welcome: bool) -> View | None:
    from motorctl.core import doctor
    from motorctl.road import topology
    from motorctl.road.step import Taking

    walk.progress.update(text="members")
    with Taking(walk.steps, "topology") as step:
        states: list[Member] | None = None
        if welcome and lane.hello.get("setName"):
            async with walk.asking(lane.host) as db:
                states = await doctor.members(db)
        return topology.judge(step, walk.lanes, walk.set_name, states, direct=walk.direct)
    return None


async def _primary(walk: Walk, lane: Lane) -> None:
    """Let the driver look for the server that takes writes, as it does for every command."""
    from motorctl.core.hello import only_host, primary
    from motorctl.road.step import Taking

    walk.progress.update(text="primary")
    with Taking(walk.steps, "primary") as step:
        if walk.direct and primary(lane.hello) != "itself" and not lane.hello.get("isWritablePrimary"):
            other = lane.hello.get("primary")
            where = f"; the primary is {other}" if other else "; its set has no primary"
            raise UnreachableError(
                f"{lane.host} takes no writes{where}",
                hint="take directConnection=true out, and name the set: replicaSet="
                + str(lane.hello.get("setName", "NAME")),
            )
        async with walk.asking() as db:
            hello = await db.client.admin.command("hello")
            found = primary(hello)
            name = hello.get("primary") or only_host(db) or str(lane.host)
        step.facts["primary"] = str(name)
        step.message = f"{name} takes writes" if found else ""
        if not found:
            raise UnreachableError(f"{name} takes no writes", hint="wait for the election (--wait 30)")


async def _transactions(walk: Walk, seen: View | None) -> None:
    """Try a transaction, on the primary, that reads nothing and is committed by a majority."""
    from motorctl.core import doctor
    from motorctl.core.transactions import REPLICA_SET_HINT, STANDALONE
    from motorctl.road.step import Status, Taking, skipped

    if any(step.status is Status.FAILED for step in walk.steps):
        walk.steps.append(skipped("transactions", "there is no primary"))
        return
    walk.progress.update(text="transaction")
    with Taking(walk.steps, "transactions") as step:
        if seen is not None and seen.kind == "standalone":
            step.warn(STANDALONE.removeprefix("this server has no transactions: "), REPLICA_SET_HINT)
            return
        try:
            async with walk.asking() as db:
                await doctor.transaction(db, walk.seconds)
        except AuthorizationError as error:
            step.status, step.message = Status.SKIPPED, f"could not be tried: {error.message}"
            step.hint = error.hint
        except OutcomeUnknownError:
            step.warn(
                f"a commit was not confirmed by a majority within {walk.seconds:g} s",
                "too few members are up, or they are far behind: see the topology",
            )
        else:
            step.message = "one was begun, read from and committed by a majority"


async def _pool(walk: Walk, lane: Lane, *, welcome: bool) -> None:
    """Compare the most connections with what the server has room for and this process may open."""
    from motorctl.core import doctor
    from motorctl.road import limits
    from motorctl.road.step import Taking

    walk.progress.update(text="pool")
    with Taking(walk.steps, "pool", str(lane.host)) as step:
        room = None
        if welcome:
            async with walk.asking(lane.host) as db:
                room = await doctor.room(db)
        most, files = walk.pool_size, limits.open_files()
        size = "connections without limit" if most is None else f"up to {most} connections"
        step.facts |= {"max_pool_size": most, "open_files_limit": files}
        step.message = f"{size} to a host"
        if room is None:
            step.message += "; how many it has room for, the role clusterMonitor may see" if welcome else ""
        else:
            step.facts |= {"server_current": room.current, "server_available": room.available}
            step.message += f"; the server has {room.current} and room for {room.available} more"
        limits.judge(step, most, room.available if room else None, files, len(walk.lanes))
