"""What must not be shown: passwords in connection strings and texts, found by their shape and by what is known.

Pure. Where secrets come from, `settings` knows; everything that is printed goes through here. Imported
by `--help`: the standard library only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

REDACTED = "***"
SHORTEST_SECRET = 4
"""Characters from which a secret is cut out wherever it stands: cutting every `a` out of a message helps nobody."""

# The password reaches from the first colon to the LAST @ of the word: a user or a password with an
# unescaped @, / or quote in it is cut out whole, at the price of a host now and then. A slash too few or too
# many doesn't bring it to light.
_USERINFO = re.compile(r"(?P<scheme>mongodb(?:\+srv)?:/{1,3})(?P<user>[^:\s]*):\S*@", re.IGNORECASE)
# USER:PASSWORD without the @HOST: what stands where a port should be.
_NO_HOST = re.compile(
    r"(?P<head>mongodb(?:\+srv)?:/{1,3}[^:@/?\s'\"\[]+:)(?!\d{1,5}(?:[,/?\s'\"]|$))[^\s'\"]+", re.IGNORECASE
)
_QUERY = re.compile(
    r"(?P<key>\b(?:tlsCertificateKeyFilePassword|sslPEMPassphrase|sslPEMKeyPassword|proxyPassword|AWS_SESSION_TOKEN)[=:])"
    r"(?P<secret>[^&\s]+?(?=['\"]?(?:[&\s]|$)))",
    re.IGNORECASE,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut passwords out of a text: in each connection string of it, and wherever `secrets` stand."""
    text = _USERINFO.sub(rf"\g<scheme>\g<user>:{REDACTED}@", text)
    text = _NO_HOST.sub(_without_host, text)
    text = _QUERY.sub(rf"\g<key>{REDACTED}", text)
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def hosts(uri: str) -> str:
    """Return the hosts of a connection string as it names them: nothing else of it."""
    return uri.partition("://")[2].rpartition("@")[2].partition("?")[0].partition("/")[0]


def _without_host(match: re.Match[str]) -> str:
    return match[0] if f":{REDACTED}@" in match[0] else f"{match['head']}{REDACTED}"


def secrets_in(uri: str) -> tuple[str, ...]:
    """Return the secrets of one connection string: as written, decoded, and as `repr` and JSON quote them.

    Where an unescaped @ leaves open which part is the password, each candidate is a secret. Short ones
    are left out: the connection string itself is redacted by its shape.
    """
    parts = uri.partition("://")[2].partition(":")[2].split("@")
    found = ["@".join(parts[:end]) for end in range(1, len(parts))]
    found += [m["secret"] for m in _QUERY.finditer(uri)]
    plain = (form for raw in found for form in (raw, unquote(raw), unquote_plus(raw)))
    forms = (form for text in plain for form in (text, repr(text)[1:-1], json.dumps(text)[1:-1]))
    return tuple(dict.fromkeys(form for form in forms if len(form) >= SHORTEST_SECRET))
