"""What a run of the program imports, and why: the list that a test holds and a benchmark puts times beside.

    python tests/loading.py            print the list
    python tests/loading.py --write    keep it as tests/golden/imports.txt

Our own modules are named one by one, packages of others by their name, Python's own where they cost a millisecond
and more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GOLDEN = Path(__file__).parent / "golden" / "imports.txt"
WITHOUT_SERVER: Mapping[str, tuple[str, ...]] = {
    "--help": ("--help",),
    "--version": ("--version",),
    "students --help": ("students", "--help"),
    "completion": ("__complete", "bash", " \t\n"),
}
WITH_SERVER: Mapping[str, tuple[str, ...]] = {
    "ping": ("ping", "-o", "json"),
    "students count": ("students", "count", "-o", "json"),
}
WHY: Mapping[str, str] = {
    "typer": "reads the command line and writes the help",
    "annotated_doc": "Typer's: its parameters' documentation",
    "shellingham": "Typer's: which shell this is",
    "motor": "the driver",
    "pymongo": "the driver's network side, most of it under Motor too",
    "bson": "the driver's documents",
    "gridfs": "Motor's: imported with it, never used here",
    "tenacity": "when an attempt is made again",
    "orjson": "JSON out",
    "platformdirs": "where the configuration file is",
    "dns": "PyMongo's: addresses of mongodb+srv",
    "pydantic": "models of records: whatever writes one",
    "rich": "tables on a terminal",
}
"""The packages that runs load, each with its reason: one that isn't here is a question."""
COSTLY = frozenset(
    """ast asyncio bz2 concurrent csv ctypes curses dataclasses decimal difflib email getpass html http importlib.metadata
    inspect json logging lzma multiprocessing pdb pickle platform pydoc random shutil socket sqlite3 ssl statistics
    subprocess tarfile tempfile textwrap tomllib traceback unittest urllib.request uuid xml zipfile""".split()
)
OPTIONAL = frozenset(
    ("cryptography", "cffi", "OpenSSL", "requests", "service_identity", "snappy", "zstandard")
)
"""Packages that PyMongo takes where it finds them: an environment of tests has more of them than a user's."""
# The program's own main(); what is in memory is written down when it is about to leave.
_LISTED = """
import json, os, sys
before = set(sys.modules)
leave = os._exit
def listed(code):
    os.write(2, b"\\n" + json.dumps([code, sorted(set(sys.modules) - before - {"json"})]).encode())
    leave(code)
os._exit = listed
sys.modules.pop("json")
for name in [name for name in sys.modules if name.startswith("json.")]:
    sys.modules.pop(name)
from motorctl.__main__ import main
main()
"""


def loaded(words: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return the modules that a run of the program loads beside those of a bare interpreter, sorted."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTED, *words], env={**os.environ, **env}, capture_output=True, check=False
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    if code:
        raise SystemExit(f"{' '.join(words)} ended with {code}:\n{done.stderr.decode()}")
    return [str(name) for name in modules]


def brought(modules: Iterable[str]) -> set[str]:
    """Return the modules that a bare interpreter has when it has imported some of its own."""
    source = f"import sys, {', '.join(sorted(modules))}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def listing(name: str, modules: Sequence[str]) -> str:
    """Return the paragraph of one run: our modules, packages of others, costly modules of Python's."""
    ours = [module for module in modules if module.split(".")[0] == "motorctl"]
    tops = {module.split(".")[0] for module in modules}
    others = sorted(top for top in tops if top not in sys.stdlib_module_names and _is_package(top))
    costly = sorted(COSTLY & set(modules))
    lines = [f"[{name}]", *(f"  {module}" for module in ours)]
    lines += [f"  packages: {' '.join(others) or 'none'}", f"  of Python: {' '.join(costly) or 'none'}"]
    return "\n".join(lines) + "\n"


def _is_package(top: str) -> bool:
    """Tell packages of others from ours and from what an environment puts into each interpreter."""
    return top not in OPTIONAL and not top.startswith(("motorctl", "_", "sitecustomize", "coverage"))


def listings(uri: str) -> str:
    """Return the paragraphs of all runs; `uri` is of any server."""
    with tempfile.TemporaryDirectory() as home:
        env = {
            "MOTORCTL_URI": uri,
            "MOTORCTL_DB": "imports",
            "XDG_CONFIG_HOME": home,
            "_MOTORCTL_LINE": "motorctl st",
        }
        runs = {**WITHOUT_SERVER, **WITH_SERVER}
        return "\n".join(listing(name, loaded(words, env)) for name, words in runs.items())


def times(words: Sequence[str], env: Mapping[str, str], runs: int) -> dict[str, float]:
    """Return the least milliseconds that each module took of itself, out of `runs` with `-X importtime`."""
    least: dict[str, float] = {}
    for _ in range(runs):
        command = [sys.executable, "-X", "importtime", "-m", "motorctl", *words]
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
        for line in done.stderr.splitlines():
            if found := re.match(r"import time: +(\d+) \| +\d+ \| +(\S+)$", line):
                took = int(found[1]) / 1000
                least[found[2]] = min(took, least.get(found[2], took))
    return least


def grouped(taken: Mapping[str, float]) -> dict[str, tuple[int, float]]:
    """Return modules and milliseconds by package, Python's own together, the dearest first."""
    groups: dict[str, tuple[int, float]] = {}
    for module, took in taken.items():
        top = module.split(".")[0]
        name = top if top in WHY or top == "motorctl" else "asyncio" if top == "asyncio" else "Python's own"
        count, total = groups.get(name, (0, 0.0))
        groups[name] = count + 1, total + took
    return dict(sorted(groups.items(), key=lambda item: -item[1][1]))


def main() -> None:
    """Print or keep the list, with a server that is started for it."""
    sys.path.append(str(Path(__file__).parent / "benchmarks"))
    from measure import say, server

    with server() as uri:
        text = listings(uri)
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        say(text)


if __name__ == "__main__":
    main()
