"""What the hosts of a connection string are together: one replica set, routers, a standalone; and what is wrong with it.

Pure: it compares the answers of the lanes with each other, with the connection string, and with what a
member says of the others. The sentences are for a step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from motorctl.core.hello import hosts, topology
from motorctl.errors import ConfigurationError, UnreachableError
from motorctl.road.address import Host
from motorctl.road.step import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.core.doctor import Member
    from motorctl.road.model import Lane
    from motorctl.road.step import Step

LATE = 10.0
"""Seconds that a secondary may be behind before it is said."""
NOT_REACHED = "not reached"
UNREACHABLE, UNREACHABLE_WORDS = "(not reachable/healthy)", "down, says the set"
"""A member's state where the one that was asked doesn't hear of it: the server's word, and ours."""
GOOD_STATES = ("PRIMARY", "SECONDARY", "ARBITER")
SHOWN = 2.0
"""Seconds behind from which it is shown: an operation's time has no fractions, so that one is nothing."""
_KINDS = {
    "standalone": "a standalone",
    "sharded": "a sharded cluster",
    "load_balanced": "a load balanced cluster",
}


@dataclass
class View:
    """What the lanes know together."""

    kind: str
    set_name: str | None
    members: list[str] = field(default_factory=list)
    """Hosts as the set names them, arbiters included."""


def members_named(lanes: Sequence[Lane]) -> list[Host]:
    """Return the hosts that sets name as their members and that have no lane yet."""
    known = {lane.host for lane in lanes}
    named = [Host.read(host) for lane in lanes for host in _all(lane)]
    return [host for host in dict.fromkeys(named) if host not in known]


def view(lanes: Sequence[Lane]) -> View:
    """Sum the lanes up that went through; at least one did."""
    through = [lane for lane in lanes if lane.through]
    first = next(
        (lane for lane in through if lane.hello.get("isWritablePrimary") or lane.hello.get("ismaster")),
        through[0],
    )
    name = first.hello.get("setName")
    return View(topology(first.hello), str(name) if name else None, _all(first))


def judge(
    step: Step,
    lanes: Sequence[Lane],
    wanted_set: str | None,
    states: Sequence[Member] | None,
    *,
    direct: bool,
) -> View:
    """Fill the step of the topology. Raises UnreachableError where no command could find its server.

    `wanted_set` is the URI's replicaSet, `states` what a member says of all of them (None: it may not be
    asked), `direct` whether the URI wants one host whatever it is in.
    """
    seen = view(lanes)
    step.facts |= {"topology": seen.kind, "set_name": seen.set_name}
    listed = [lane for lane in lanes if lane.listed and lane.through]
    _check_set(listed, wanted_set)
    if seen.kind != "replica_set":
        step.message = _KINDS[seen.kind]
        return seen
    states_by_host = _states(lanes, seen, states)
    step.facts["members"] = [{"host": host, "state": state} for host, state in states_by_host.items()]
    count = f"{len(seen.members)} members" if len(seen.members) != 1 else "one member"
    step.message = f"replica set {seen.set_name}, {count}: " + ", ".join(
        f"{host} {UNREACHABLE_WORDS if state == UNREACHABLE else state}"
        for host, state in states_by_host.items()
    )
    if direct:
        step.message += "; directConnection=true: commands talk to this one host"
        return seen
    lost = _check_names(step, lanes, seen)
    reached = {host: state for host, state in states_by_host.items() if host not in lost}
    _check_states(step, reached, states)
    return seen


def _all(lane: Lane) -> list[str]:
    return (
        [*hosts(lane.hello), *map(str, lane.hello.get("arbiters", ()))] if lane.hello.get("setName") else []
    )


def _check_set(listed: Sequence[Lane], wanted: str | None) -> None:
    """Compare the set that the URI names with those that its hosts are in."""
    for lane in listed:
        if lane.hello.get("isreplicaset") and not lane.hello.get("setName"):
            raise UnreachableError(
                f"{lane.host} is to be a member of a replica set that was not initiated, or has just started",
                hint="wait a moment (--wait 30), or run rs.initiate() there once",
            )
    found = {str(lane.host): lane.hello.get("setName") for lane in listed}
    names = {name for name in found.values() if name}
    if wanted is not None and wanted not in names:
        where = "; ".join(
            f"{', '.join(hosts)} {'is' if len(hosts) == 1 else 'are'} in {name or 'none'}"
            for name, hosts in _by_set(found).items()
        )
        raise UnreachableError(
            f"none of the hosts is a member of the replica set {wanted}: {where}",
            hint=f"write replicaSet={min(names)}" if names else "leave replicaSet= out: it is a standalone",
        )
    if len(names) > 1:
        where = "; ".join(f"{host} is in {name}" for host, name in found.items() if name)
        raise ConfigurationError(
            f"the hosts are of different replica sets: {where}",
            hint="a connection string names members of one set: take the others out",
        )


def _by_set(found: Mapping[str, str | None]) -> dict[str | None, list[str]]:
    """Return the hosts of each set."""
    by_set: dict[str | None, list[str]] = {}
    for host, name in found.items():
        by_set.setdefault(name, []).append(host)
    return by_set


def _check_names(step: Step, lanes: Sequence[Lane], seen: View) -> set[str]:
    """Compare the names of the URI with those that the set gives its members: the driver goes on with the latter.

    Returns the members that were not reached, as the set names them: what they are is told by then.
    """
    lane_of = {lane.host: lane for lane in lanes}
    members = [lane for name in seen.members if (lane := lane_of.get(Host.read(name)))]
    lost = [lane for lane in members if not lane.through]
    ends = "; ".join(f"{lane.host}: {lane.failures[0].message}" for lane in lost if lane.failures)
    if members and len(lost) == len(members):
        raise UnreachableError(
            f"the set calls its members by names that lead nowhere from here: {ends}",
            hint="make these names reachable (DNS, or /etc/hosts; for containers their ports, too), give the "
            "members others (rs.reconfig), or talk to one host with directConnection=true",
        )
    if lost:
        step.warn(
            f"not reached from here: {', '.join(str(lane.host) for lane in lost)}", lost[0].failures[0].hint
        )
    named = {Host.read(name) for name in seen.members}
    if strange := [str(lane.host) for lane in lanes if lane.listed and lane.host not in named]:
        step.warn(
            f"the set doesn't know {', '.join(strange)} by that name",
            "drivers go on with the names that the set gives its members: best write these into the URI",
        )
    return {name for name in seen.members if lane_of.get(Host.read(name)) in lost}


def _check_states(step: Step, shown: Mapping[str, str], states: Sequence[Member] | None) -> None:
    bad = [
        host for host, state in shown.items() if state.partition(",")[0] not in (*GOOD_STATES, NOT_REACHED)
    ]
    if bad:
        step.warn(f"not ready: {', '.join(bad)}", "look at rs.status() and at the member's log")
    late = [m.host for m in states or () if (m.behind_seconds or 0) > LATE]
    if late:
        step.warn(
            f"behind by more than {LATE:g} s: {', '.join(late)}",
            "writes that wait for a majority wait for them: look at the member's load and its network",
        )


def _states(lanes: Sequence[Lane], seen: View, states: Sequence[Member] | None) -> dict[str, str]:
    """Return each member's state in words: as a member says it, else as each of them told us."""
    if states:
        return {
            m.host: f"{m.state}, {m.behind_seconds:.0f} s behind"
            if (m.behind_seconds or 0) >= SHOWN
            else m.state
            for m in states
        }
    lane_of = {lane.host: lane for lane in lanes}
    return {name: _state(lane_of.get(Host.read(name))) for name in seen.members}


def _state(lane: Lane | None) -> str:
    if lane is None or not lane.through:
        return NOT_REACHED
    hello = lane.hello
    if hello.get("isWritablePrimary") or hello.get("ismaster"):
        return "PRIMARY"
    if hello.get("secondary"):
        return "SECONDARY"
    return "ARBITER" if hello.get("arbiterOnly") else "OTHER"


def settle(lanes: Sequence[Lane]) -> None:
    """Make failures warnings where the road goes on at another host; a member that no URI names never ends it."""
    goes_on = any(lane.through for lane in lanes if lane.listed)
    for lane in lanes:
        if goes_on or not lane.listed:
            for step in lane.failures:
                step.status = Status.WARNING
