"""Files, directories and standard input -> documents. Knows nothing of what a manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from motorctl.errors import ManifestError, UsageError
from motorctl.manifest.document import MANIFEST, About, Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

# A second or two for the reader, whatever stands in it; 100,000 values, the most of a document, have room.
_LARGEST = 2 * 1024 * 1024
_ENDINGS = frozenset({".yaml", ".yml", ".json"})


def documents(
    sources: Sequence[str], stdin: BinaryIO | None, environment: Mapping[str, str] | None
) -> Iterator[Document]:
    """Read files, the `*.yaml`, `*.yml` and `*.json` of directories by name, and `-`, standard input.

    Directories below a directory are not looked into. Raises ManifestError with its place.
    """
    if list(sources).count("-") > 1:
        raise UsageError("standard input can be read once", hint="name - once")
    for source in sources:
        for file in [source] if source == "-" else _files(source):
            yield document(file, stdin, environment)


def document(
    source: str,
    stdin: BinaryIO | None,
    environment: Mapping[str, str] | None = None,
    *,
    about: About = MANIFEST,
) -> Document:
    """Read one file (`-` is stdin). Raises ManifestError with its place."""
    name = "standard input" if source == "-" else source
    data = _bytes(source, name, stdin, about)
    if len(data) > _LARGEST:
        raise ManifestError(
            f"{name} is larger than {_LARGEST >> 20} MiB: that is no {about.noun}",
            hint=about.larger,
            file=name,
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8-sig")) + 1
        raise ManifestError(
            f"{name}:{line}:{column}: this is no text: byte {error.start + 1} is not UTF-8",
            file=name,
            line=line,
            column=column,
        ) from None
    return Document(name, text, environment, about=about)


def _files(source: str) -> list[str]:
    folder = Path(source)
    if not folder.is_dir():
        return [source]
    try:
        # Names that begin with a dot are what editors leave behind.
        found = sorted(
            file.name
            for file in folder.iterdir()
            if file.suffix.lower() in _ENDINGS and not file.name.startswith(".") and not file.is_dir()
        )
    except OSError as error:
        raise ManifestError(f"{source} can't be read: {error.strerror}", file=source) from None
    if not found:
        raise ManifestError(
            f"{source} holds no manifest",
            hint="a directory's manifests are its *.yaml, *.yml and *.json; those below it are not looked for",
            file=source,
        )
    return [str(folder / name) for name in found]


def _bytes(source: str, name: str, stdin: BinaryIO | None, about: About) -> bytes:
    try:
        if source == "-":
            if stdin is None:
                raise UsageError(f"there is no standard input to read {about.called} from")
            return stdin.read(_LARGEST + 1)
        with Path(source).open("rb") as file:
            return file.read(_LARGEST + 1)
    except IsADirectoryError:
        raise ManifestError(f"{name} is a directory", hint="name one file", file=name) from None
    except FileNotFoundError:
        raise ManifestError(f"{name} doesn't exist", hint=about.start, file=name) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ManifestError(f"{name} can't be read: {reason}", file=name) from None
