"""How `--help` looks: what Typer's own layout doesn't do without Rich, which costs 50 ms.

Paragraphs are wrapped, indented lines stand as they were written, so that examples can be copied, and
options stand in the groups that a command names (`rich_help_panel`, Typer's word for them). Knows no
command.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter

__all__ = ["Help", "paragraphs"]

PROGRAM = "motorctl"


class Help:
    """A command's or a group's help. To be mixed in before Typer's class."""

    params: list[Parameter]
    help: str | None

    def get_help_option_names(self, ctx: Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return ["-h", "--help"]

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """The words of the usage line, without Typer's braces: `COLLECTION [FILE]` as man pages have it."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]  # Click's, where this is mixed in
        return [piece.removeprefix("{").removesuffix("}") if piece[:1] == "{" else piece for piece in pieces]

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        self.format_usage(ctx, formatter)  # type: ignore[attr-defined]  # Click's, where this is mixed in
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 - Click's signature
        """Wrap paragraphs; print indented lines as they stand, so that examples can be copied."""
        for paragraph in paragraphs(self.help or ""):
            formatter.write_paragraph()
            if paragraph[0].startswith(" ") or any(line.startswith(" ") for line in paragraph[1:]):
                for line in paragraph:
                    formatter.write(f"  {line}\n" if line else "\n")
            else:
                with formatter.indentation():
                    formatter.write_text(" ".join(paragraph))

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        for title, records in self._sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl(records)
        self.format_commands(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(
            f"Global options (--uri, --db, --output, --timeout, --yes, ...) go before or after the command: "
            f"`{PROGRAM} --help` lists them, `{PROGRAM} help exit-codes` the exit codes."
        )

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """List sub-commands; a command has none."""

    def _sections(self, ctx: Context) -> dict[str, list[Any]]:
        """The parameters by their group, in the order in which the groups are first named."""
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        for param in self.params:
            if not getattr(param, "hidden", False) and (record := param.get_help_record(ctx)):
                kind = "Arguments" if param.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(param, "rich_help_panel", None) or kind, []).append(record)
        return {title: records for title, records in sections.items() if records}


def paragraphs(text: str) -> list[list[str]]:
    """Return a help text's paragraphs as their lines; those of a block keep their indentation."""
    found: list[list[str]] = [[]]
    for line in inspect.cleandoc(text).splitlines():
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]
