"""What `--help` says of the verbs that `records` adds to a noun. Text alone."""

from __future__ import annotations

GET = """Show one {name}.

Reads one document. Exit code 5 if there is none with this id.

Example:
  motorctl {names} get {example}
  motorctl {names} get {example} --fields email
"""
LIST = """List {names}: a page, or all of them.

Only reads. Without an option the first page. --all streams: memory stays flat whatever the number.

Example:
  motorctl {names} list
  motorctl {names} list --page 2 --page-size 50
  motorctl {names} list --filter '{{"email": {{"$regex": "@example.com$"}}}}' --sort name
  motorctl {names} list --all -o ndjson
"""
COUNT = """Count {names}.

Only reads: all of them, unless --filter says which.

Example:
  motorctl {names} count
  motorctl {names} count --filter '{{"name": "Ada"}}' -o json
"""
DELETE = """Delete one {name} by id, or many by --filter.

One is shown as it was. Many are counted first; then it asks, and needs --yes where nobody can be asked.
Exit code 5 if there is none with the id; a filter that fits none deletes nothing, and that is no error.

Example:
  motorctl {names} delete {example}
  motorctl {names} delete --filter '{{"email": {{"$regex": "@example.org$"}}}}' --yes
"""


def of(template: str, name: str, example: str) -> str:
    """Return the help of a verb for a noun in the singular; `example` is an id that examples name."""
    return template.format(name=name, names=f"{name}s", example=example)
