"""Names to addresses: SRV and TXT records of `mongodb+srv://`, then each host's A and AAAA records.

Hosts are looked up as the driver does it, through the system (hosts file, search domains, DNS); SRV and
TXT by dnspython, as the driver does that. Each look-up is bounded by its caller's seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

from motorctl.errors import ConfigurationError, UnreachableError
from motorctl.road.address import Host

if TYPE_CHECKING:
    from collections.abc import Callable

TXT_OPTIONS = ("authSource", "replicaSet", "loadBalanced")
"""What a TXT record may set, by the specification Initial DNS Seedlist Discovery."""
_DNS_HINT = "check the name and this machine's DNS server (/etc/resolv.conf); mongodb:// with HOST:PORT needs no SRV record"


async def seeds(name: str, service: str, seconds: float) -> list[Host]:
    """Return the hosts of `_SERVICE._tcp.NAME`. Raises UnreachableError, ConfigurationError.

    Each must be in the parent domain of `name`: the rule of Initial DNS Seedlist Discovery, against records
    that lead elsewhere.
    """
    labels = name.lower().rstrip(".").split(".")
    parent = labels[1:] if len(labels) > 2 else labels
    found = []
    for record in await _records(f"_{service}._tcp.{name}", "SRV", seconds) or []:
        target = record.target.to_text(omit_final_dot=True).lower()
        inside = target.split(".")
        if inside[1:][-len(parent) :] != parent or (len(labels) < 3 and inside == labels):
            raise ConfigurationError(
                f"its SRV record leads to {target}, which is not in the domain {'.'.join(parent)}",
                hint="drivers refuse a host outside the parent domain of the name: mend the SRV record",
            )
        found.append(Host(target, record.port))
    if not found:
        raise UnreachableError(
            f"there is no SRV record _{service}._tcp.{name}",
            hint="check the name; for a server without SRV records write mongodb:// and HOST:PORT",
        )
    return sorted(found, key=str)


async def options(name: str, seconds: float) -> list[tuple[str, str]]:
    """Return the options that the TXT record of `name` sets; without one, none. Errors as `seeds`."""
    records = await _records(name, "TXT", seconds) or []
    if len(records) > 1:
        raise ConfigurationError(
            f"{name} has {len(records)} TXT records; drivers take only one", hint="remove the others"
        )
    text = b"".join(records[0].strings).decode(errors="replace") if records else ""
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    allowed = {option.lower() for option in TXT_OPTIONS}
    if wrong := [key for key, _, _ in pairs if key.lower() not in allowed]:
        raise ConfigurationError(
            f"its TXT record sets {', '.join(wrong)}",
            hint=f"a TXT record may set {', '.join(TXT_OPTIONS)} only: put other options into the URI",
        )
    return [(key, value) for key, _, value in pairs]


async def _records(name: str, kind: str, seconds: float) -> list[Any] | None:
    """Ask DNS for records; None where there are none. Raises UnreachableError where DNS gives no answer."""
    from dns import asyncresolver, exception, resolver

    try:
        return list(await asyncresolver.resolve(name, kind, lifetime=seconds))
    except (resolver.NXDOMAIN, resolver.NoAnswer):
        return None
    except exception.Timeout:
        raise UnreachableError(f"DNS gave no answer within {seconds:g} s", hint=_DNS_HINT) from None
    except resolver.NoResolverConfiguration:
        raise UnreachableError("this machine has no DNS server", hint=_DNS_HINT) from None
    except (exception.DNSException, OSError, UnicodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UnreachableError(f"DNS could not answer: {reason}", hint=_DNS_HINT) from None


def is_address(name: str) -> bool:
    """Tell whether a host is an IP address already."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


async def addresses(host: Host, seconds: float) -> list[tuple[socket.AddressFamily, Any]]:
    """Return a host's addresses in the system's order, each with its family. Raises UnreachableError.

    Of `localhost` the IPv4 ones: the driver asks for no others.
    """
    family = socket.AF_INET if host.name == "localhost" or not socket.has_ipv6 else socket.AF_UNSPEC

    def look_up() -> list[Any]:
        return socket.getaddrinfo(host.name, host.port, family, socket.SOCK_STREAM)

    try:
        found = await in_thread(look_up, seconds)
    except TimeoutError:
        raise UnreachableError(
            f"DNS gave no answer for {host.name} within {seconds:g} s",
            hint="check this machine's DNS server (/etc/resolv.conf) and the way to it",
        ) from None
    except (OSError, UnicodeError) as error:
        temporary = getattr(error, "errno", None) == socket.EAI_AGAIN
        raise UnreachableError(
            f"the name {host.name} does not resolve" + (": DNS does not answer" if temporary else ""),
            hint="check the host's name, this machine's DNS server and its hosts file (/etc/hosts)",
        ) from None
    return list(dict.fromkeys((found_family, place) for found_family, _, _, _, place in found))


async def in_thread(call: Callable[[], Any], seconds: float) -> Any:
    """Await `call()` in a thread that nobody waits for: a look-up in the system can't be stopped.

    The loop's own threads won't do: the loop waits for them at its end. Raises TimeoutError after `seconds`.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error else future.set_result(value)

    def run() -> None:
        value, failure = None, None
        try:
            value = call()
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, value, failure)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wait_for(future, seconds)
