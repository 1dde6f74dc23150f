"""What must not be shown: passwords in connection strings and texts, found by their shape and by what is known.

Pure. Where secrets come from, `settings` knows; everything that is printed goes through here. Imported
by `--help`: the standard library only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

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
    # Any option that is called a password, one that no driver knows too: that is how a typing error looks.
    r"(?P<key>\b(?:tlsCertificateKeyFilePassword|sslPEMPassphrase|sslPEMKeyPassword|proxyPassword|AWS_SESSION_TOKEN)[=:]"
    r"|[?&][a-z_]*(?:password|passwd|passphrase|secret|token)=)"
    r"(?P<secret>[^&\s]+?(?=['\"]?(?:[&\s]|$)))",
    re.IGNORECASE,
)
_PROPERTIES = re.compile(r"(?P<key>\bauthMechanismProperties=)(?P<value>[^&\s'\"]+)", re.IGNORECASE)
_PUBLIC_PROPERTIES = frozenset(
    """SERVICE_NAME SERVICE_REALM SERVICE_HOST CANONICALIZE_HOST_NAME ENVIRONMENT TOKEN_RESOURCE
    ALLOWED_HOSTS""".split()
)
"""What of authMechanismProperties says nothing to a thief (mongodb/specifications, auth.md); all else is a secret."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut passwords out of a text: in each connection string of it, and wherever `secrets` stand."""
    # Before the shapes, which would leave the rest of one with a space in it.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _USERINFO.sub(rf"\g<scheme>\g<user>:{REDACTED}@", text)
    text = _NO_HOST.sub(_without_host, text)
    text = _PROPERTIES.sub(lambda found: found["key"] + _without_values(found["value"]), text)
    return _QUERY.sub(rf"\g<key>{REDACTED}", text)


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
    if "@" not in uri:
        found += [uri[m.end("head") :] for m in _NO_HOST.finditer(uri)]
    found += [m["secret"] for m in _QUERY.finditer(uri)]
    found += [secret for m in _PROPERTIES.finditer(uri) for secret in secrets_of_properties(m["value"])]
    # The driver looks for a colon in the decoded text, and names what stands before it.
    found += [
        part for m in _PROPERTIES.finditer(uri) for one in secrets_of_properties(m["value"])
        for part in unquote_plus(one).split(":")
    ]  # fmt: skip
    return forms(found)


def secrets_of_properties(properties: Any) -> list[str]:
    """Return the secrets of `authMechanismProperties`, as a URI writes them (`NAME:value,...`) or as a table."""
    if isinstance(properties, dict):
        pairs = [(str(name), str(value)) for name, value in properties.items()]
    else:
        pairs = [(name, value) for name, _, value in map(_halves, str(properties).split(","))]
    return [value or name for name, value in pairs if name.upper() not in _PUBLIC_PROPERTIES]


def forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return secrets in each way that a message may write them: decoded, percent-encoded, quoted."""
    plain = (form for raw in secrets for form in (raw, unquote(raw), unquote_plus(raw)))
    written = (
        form
        for text in dict.fromkeys(plain)
        for form in (text, repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1], *_encoded(text))
    )
    # A short one with a space in it is cut out all the same: by its shape only half of it would be.
    return tuple(
        dict.fromkeys(form for form in written if len(form) >= SHORTEST_SECRET or len(form.split()) > 1)
    )


def _encoded(text: str) -> tuple[str, ...]:
    encoded = [form(text, safe="", errors="surrogatepass") for form in (quote, quote_plus)]
    # The digits of an escape may be small.
    return (*encoded, *(re.sub("%..", lambda found: found[0].lower(), form) for form in encoded))


def _halves(pair: str) -> tuple[str, str, str]:
    # A URI may have the colon encoded; what has none is the rest of a value with a comma in it.
    name, colon, value = pair.partition(":") if ":" in pair else unquote(pair).partition(":")
    return (name, colon, value) if re.fullmatch(r"\w+", name) else (pair, "", "")


def _without_values(properties: str) -> str:
    shown = []
    for pair in properties.split(","):
        name, colon, _ = _halves(pair)
        public = colon and name.upper() in _PUBLIC_PROPERTIES
        shown.append(pair if public else f"{name}:{REDACTED}" if colon else REDACTED)
    return ",".join(shown)
