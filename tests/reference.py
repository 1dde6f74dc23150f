"""What is written from the program's own words: the table of completion, the scripts, the reference, man pages.

    python tests/reference.py            write them
    python tests/reference.py --check    exit 1 and name those that aren't up to date

All of it is read from the commands as `--help` has them, so that nothing is said twice by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from motorctl import __version__, completion, program, topics
from motorctl.commands import ENTRIES, SECTIONS, Entry
from motorctl.commands.completion import SCRIPTS
from motorctl.global_options import BY_NAME, OPTIONS, PICTURES, Option
from motorctl.help import PROGRAM, paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typer._click import Command, Context, Parameter

ROOT = Path(__file__).parent.parent

# What is offered for a value, by how it is called in help. Where two things have one name, by the command, too.
# A metavar that isn't here is an error: whoever adds one says what completes it, if only "", which is nothing.
TAKES = {
    "COLLECTION": "collection", "GLOB": "collection", "INDEX": "index", "NAME|JSON": "index",
    "FILE": "file", "FILE|-": "file", "PATH": "file",
    "JSON|@FILE": "at", "JSON|@FILE|-": "at", "PIPELINE|@FILE|-": "at", "FILTER": "at",
    "NAME[:TYPE]=VALUE|NAME@FILE": "", "ZONE": "zone", "PRODUCT": "product", "FROM": "account", "TO": "account",
    "A": "schema", "B": "schema", "TOPIC|COMMAND": "command",
} | dict.fromkeys(
    """0..1 0.0..4.0 A,-B A,B A,B,... AMOUNT CHAR CODE DATE E-MAIL EXPR FIELD FIELD:TYPE,... FIELDS|JSON FIELD[,FIELD] GATES
    I/N ID ID:N[@AMOUNT] KEY KEYS LOCALE|JSON MS N NAME N|NAME N|P% N|majority OLD=NEW S SECONDS TEXT VALUE""".split(),
    "",
)  # fmt: skip
TAKES_HERE = {
    ("accounts", "ID"): "account", ("transfer", "ID"): "account",
    "--uri-file": "file", "--config": "file", "--db": "database", "--profile": "profile", "--product": "product",
}  # fmt: skip


class Item(NamedTuple):
    """A command or a group: its path without the program's name, and what help says of it."""

    path: str
    command: Command
    context: Context

    @property
    def title(self) -> str:
        return f"{PROGRAM} {self.path}".strip()

    @property
    def line(self) -> str:
        """Its line in the list of the level above, and the first of its help."""
        if self.path in ENTRIES:
            return ENTRIES[self.path].help
        return " ".join(paragraphs(self.command.help or "")[0])

    @property
    def usage(self) -> str:
        return " ".join([self.title, *self.command.collect_usage_pieces(self.context)])

    @property
    def own(self) -> list[Parameter]:
        hidden = ("help",)
        return [p for p in self.command.params if p.name not in hidden and not getattr(p, "hidden", False)]

    @property
    def sections(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = self.command._sections(self.context)  # type: ignore[attr-defined]  # a command of the program's own class
        return found

    @property
    def is_group(self) -> bool:
        return isinstance(self.command, program.Group)


def items(entry: Entry) -> Iterator[Item]:
    """Yield what a name of the root has: itself, then its verbs. A noun that is a command too is that."""
    found = program.load(entry)
    root = program.root()
    top = root.make_context(PROGRAM, [], resilient_parsing=True)
    context = found.make_context(entry.name, [], parent=top, resilient_parsing=True)
    if isinstance(found, program.Group) and found.has_own:
        own = found.commands[entry.name]
        yield Item(entry.name, own, own.make_context(entry.name, [], parent=top, resilient_parsing=True))
    else:
        yield Item(entry.name, found, context)
    if isinstance(found, program.Group):
        for verb, below in found.commands.items():
            if verb != entry.name:
                inner = below.make_context(verb, [], parent=context, resilient_parsing=True)
                yield Item(f"{entry.name} {verb}", below, inner)


# Completion


def takes(item: Item, param: Parameter) -> str | None:
    """Return what the table says of a parameter's value: see `completion.words`. None is a switch."""
    if getattr(param, "is_flag", False):
        return None
    offered = getattr(param, "_custom_shell_complete", None)
    if offered is not None:
        return f"choice:{' '.join(word.value for word in offered(item.context, param, ''))}"
    if choices := getattr(param.type, "choices", None):
        return f"choice:{' '.join(map(str, choices))}"
    metavar = param.make_metavar(item.context).strip()
    named = (
        re.sub(r"^[\[{]+|(\.\.\.)?[\]}]*(\.\.\.)?$", "", metavar)
        if param.param_type_name == "argument"
        else metavar
    )
    for key in (*param.opts, (item.path.split()[0], named)):
        if key in TAKES_HERE:
            return TAKES_HERE[key]
    if named not in TAKES:
        raise SystemExit(f"{item.title}: what completes {metavar}? See TAKES in {Path(__file__).name}")
    return TAKES[named]


def of_setting(option: Option, *, draws: bool) -> tuple[tuple[str, ...], str, str | None]:
    """Return a global option's row of the table."""
    flags = tuple(flag for one in option.flags for flag in one.split("/"))
    value = TAKES_HERE.get(option.flags[0], "")
    if option.choices:
        choices = [c for c in option.choices if draws or option.name != "output" or c not in PICTURES]
        value = f"choice:{' '.join(choices)}"
    return flags, option.help, None if option.kind is bool else value


def table() -> str:
    """Return the module `completion/table.py`."""
    rows: dict[str, tuple[str, list[Any], list[str]]] = {"": ("", [], [])}
    rows[""][1].append((("--version",), "Print the version.", None))
    for entry in ENTRIES.values():
        for item in items(entry):
            options, arguments = [], []
            for param in item.own:
                value = takes(item, param)
                if param.param_type_name == "argument":
                    arguments.append(f"{value}*" if param.nargs == -1 else str(value))
                else:
                    flags = sorted(
                        [*param.opts, *param.secondary_opts], key=lambda flag: not flag.startswith("--")
                    )
                    options.append((tuple(flags), getattr(param, "help", "") or "", value))
            verb = item.path.partition(" ")[2]
            if entry.draws and not item.is_group and verb not in entry.draws:
                raise SystemExit(
                    f"{item.title} draws nothing, and others of its noun do: say so in the table"
                )
            if entry.draws and not item.is_group:
                options.append(of_setting(BY_NAME["output"], draws=True))
            options.append((("--help", "-h"), "Show what it takes.", None))
            rows[item.path] = (item.line, options, arguments)
    # Before a command stands, the format may be any.
    rows[""][1].append(of_setting(BY_NAME["output"], draws=True))
    rows[""][1].append((("--help", "-h"), "Show the commands and the global options.", None))
    lines = [
        '"""Every command with what it takes, for completion. Written by `python tests/reference.py`."""',
        "",
        "# fmt: off",
        "GLOBALS = (",
        *(f"    {_python(of_setting(option, draws=False))}," for option in OPTIONS),
        ")",
        "TOPICS = (",
        *(f"    {_python((name, line))}," for name, (line, _) in topics.TOPICS.items()),
        ")",
        "COMMANDS: dict[str, tuple[str, tuple[tuple[tuple[str, ...], str, str | None], ...], tuple[str, ...]]] = {",
    ]
    for path, (line, options, arguments) in rows.items():
        lines += [f"    {_python(path)}: ({_python(line)}, (", *(f"        {_python(o)}," for o in options)]
        lines.append(f"    ), {_python(tuple(arguments))}),")
    return "\n".join([*lines, "}", ""])


def _python(value: Any) -> str:
    """Return a literal with the quotes that the formatter would choose."""
    if isinstance(value, tuple):
        inner = ", ".join(map(_python, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, str) and '"' not in value:
        return '"' + repr(f"'{value}")[2:-1] + '"'
    return repr(value)


# The reference, in Markdown


def markdown() -> str:
    """Return `docs/commands.md`."""
    lines = [
        "# Commands",
        "",
        f"What `{PROGRAM} COMMAND --help` says, on one page. Written from the program by `python tests/reference.py`.",
        "",
    ]
    for section, entries in SECTIONS.items():
        lines.append(f"- {section}: " + ", ".join(f"[{e.name}](#{PROGRAM}-{e.name})" for e in entries))
    lines += ["- [Global options](#global-options) · [Exit codes](#exit-codes)", ""]
    for entry in ENTRIES.values():
        found = list(items(entry))
        for item in found:
            lines += [f"##{'#' * item.path.count(' ')} {item.title}", ""]
            lines += ["```", item.usage, "```", ""]
            lines += _markdown_text(item.command.help or "")
            if item is found[0] and len(found) > 1:
                lines += ["| verb | |", "| --- | --- |"]
                lines += [f"| [{_verb(v)}](#{_anchor(v)}) | {_cell(v.line)} |" for v in found[1:]] + [""]
            for title, rows in item.sections.items():
                if rows:
                    lines += [f"| {title} | |", "| --- | --- |"]
                    lines += [
                        f"| `{name.replace('|', chr(92) + '|')}` | {_cell(text)} |" for name, text in rows
                    ] + [""]
    lines += ["## Global options", "", "Before or after the command.", "", "| option | |", "| --- | --- |"]
    top = program.root().make_context(PROGRAM, [], resilient_parsing=True)
    for param in program.GLOBAL_OPTIONS:
        record = param.get_help_record(top)
        assert record is not None
        lines.append(f"| `{record[0].replace('|', chr(92) + '|')}` | {_cell(record[1])} |")
    lines += ["", "## Exit codes", "", "| code | |", "| --- | --- |"]
    lines += [f"| {int(code)} | {_cell(meaning.sentence)} |" for code, meaning in topics.CODES.items()]
    return "\n".join([*lines, ""])


def _verb(item: Item) -> str:
    return item.path.partition(" ")[2]


def _anchor(item: Item) -> str:
    return item.title.replace(" ", "-")


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Text whose own marks are no Markdown; what stands in backquotes is code there too."""
    parts = text.split("`")
    plain = [re.sub(r"[\\*<$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(part for pair in zip(plain, [*parts[1::2], ""], strict=False) for part in pair).rstrip(
        "`"
    ) + ("`" if text.endswith("`") else "")


def _markdown_text(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs(text):
        head, *rest = paragraph
        if rest and all(line.startswith(" ") for line in rest):
            lines += [head, "", "```sh", *(line.strip() for line in rest), "```", ""]
        else:
            lines += [_escaped(" ".join(paragraph)), ""]
    return lines


# Man pages


def man_pages() -> dict[str, str]:
    """Return the pages by their files' names: the program, and one for each name of the root."""
    pages = {f"{PROGRAM}.1": _main_page()}
    for entry in ENTRIES.values():
        pages[f"{PROGRAM}-{entry.name}.1"] = _page(entry)
    return pages


def _main_page() -> str:
    top = program.root().make_context(PROGRAM, [], resilient_parsing=True)
    lines = _head(PROGRAM, "administer MongoDB from the command line")
    lines += [".SH SYNOPSIS", f".B {PROGRAM}", "[GLOBAL OPTIONS] COMMAND [ARGUMENTS]"]
    lines += [".SH DESCRIPTION"]
    lines += [
        "Schema as code, imports that account for every record, reports, transfers, and the plans of queries."
    ]
    for section, entries in SECTIONS.items():
        lines.append(f".SS {_roff(section)}")
        for entry in entries:
            lines += [".TP", f".BR {_roff(f'{PROGRAM}-{entry.name}')} (1)", _roff(entry.help)]
    lines.append(".SH GLOBAL OPTIONS")
    lines.append("Before or after the command.")
    for param in program.GLOBAL_OPTIONS:
        record = param.get_help_record(top)
        assert record is not None
        lines += [".TP", f"\\fB{_roff(record[0])}\\fR", _roff(" ".join(record[1].split()))]
    lines.append(".SH EXIT STATUS")
    for code, meaning in topics.CODES.items():
        lines += [".TP", f".B {int(code)}", _roff(meaning.sentence)]
    for name in ("output", "connection", "formats"):
        lines += [f".SH {name.upper()}", *_roff_text(topics.TOPICS[name][1]())]
    lines += [".SH SEE ALSO", "Each command has a page of its own, and", f".B {PROGRAM} COMMAND \\-\\-help"]
    lines.append("says the same.")
    return "\n".join([*lines, ""])


def _page(entry: Entry) -> str:
    found = list(items(entry))
    lines = _head(f"{PROGRAM}-{entry.name}", entry.help[:1].lower() + entry.help[1:].rstrip("."))
    lines.append(".SH SYNOPSIS")
    shown = [_roff(item.usage) for item in found if not item.is_group]
    lines += [line for usage in shown for line in (".br", usage)][1:]
    lines.append(".SH DESCRIPTION")
    for item in found:
        if item is not found[0]:
            lines.append(f".SH {_roff(item.title.upper())}")
        lines += _roff_text(item.command.help or entry.help)
        for title, rows in item.sections.items():
            if rows:
                lines.append(f".SS {_roff(title)}")
            for name, text in rows:
                lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(" ".join(text.split())) or "."]
    lines += [".SH SEE ALSO", f".BR {PROGRAM} (1)"]
    lines += ["has the global options, the exit codes, and how a server is named."]
    return "\n".join([*lines, ""])


def _head(name: str, line: str) -> list[str]:
    return [
        '.\\" Written by `python tests/reference.py`.',
        f'.TH {_roff(name.upper())} 1 "" "{PROGRAM} {__version__}" "{PROGRAM}"',
        # Neither hyphens nor wide gaps in what is to be copied.
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(line)}",
    ]


def _roff(text: str) -> str:
    r"""Text that roff prints as it is: a backslash, a hyphen that may be copied, a quote, a dot that begins a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _roff_text(text: str) -> list[str]:
    """Return a text's paragraphs, without the macro that would begin the first one: it follows a heading."""
    lines: list[str] = []
    for paragraph in paragraphs(text):
        head, *rest = paragraph
        blocks = [line.startswith(" ") for line in paragraph]
        if any(blocks):
            if not blocks[0]:
                lines += [".PP", _roff(head)]
            shown = rest if not blocks[0] else paragraph
            lines += [
                ".PP",
                ".RS 4",
                ".nf",
                *(_roff(line.strip() if not blocks[0] else line[2:]) for line in shown),
            ]
            lines += [".fi", ".RE"]
        else:
            lines += [".PP", _roff(" ".join(paragraph))]
    return lines[1:]


# The files


def files() -> dict[Path, str]:
    """Return each file that is written, with what should be in it."""
    here = Path(completion.__file__).parent
    found = {here / "table.py": table(), ROOT / "docs/commands.md": markdown()}
    found |= {ROOT / "docs/man" / name: page for name, page in man_pages().items()}
    for name in SCRIPTS.values():
        found[ROOT / "completions" / name] = (here / "scripts" / name).read_text(encoding="utf-8")
    return found


def stale() -> list[str]:
    """Return the files that aren't what they should be, and those that should no longer be there."""
    wanted = files()
    old = [*(ROOT / "docs/man").glob("*"), *(ROOT / "completions").glob("*")]
    wrong = [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    return [str(path.relative_to(ROOT)) for path in [*wrong, *(path for path in old if path not in wanted)]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if something isn't up to date"
    )
    if parser.parse_args(arguments).check:
        found = stale()
        sys.stdout.writelines(f"not up to date: {path}\n" for path in found)
        return int(bool(found))
    wanted = files()
    for path in [*(ROOT / "docs/man").glob("*"), *(ROOT / "completions").glob("*")]:
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
