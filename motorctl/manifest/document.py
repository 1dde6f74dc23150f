"""YAML or JSON text -> a plain value, and the place of every key and value in it.

Owns the limits of what is read (depth, number of values) and the substitution of variables. What the
values mean is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scanner import Scanner, ScannerError

from motorctl.core.extjson import DEPTH_LIMIT, ExtendedJSONError, to_bson_values
from motorctl.errors import ManifestError
from motorctl.manifest.environment import VariableError, is_one_variable, substitute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path_ = tuple[str | int, ...]
"""Keys and positions from a document's top."""

_MOST_VALUES = 100_000
_LONGEST_TAG = 256
_LONGEST_MESSAGE = 500
_TAG = "tag:yaml.org,2002:"
_TYPED = {_TAG + name for name in ("null", "bool", "int", "float")}
# A timestamp stays text: dates are written {$date: ...}, as in all of Extended JSON. `=` and `<<` have
# meanings in older YAML only, the latter as a key.
_TEXT = {_TAG + name for name in ("str", "timestamp", "value", "merge")}
_TAGS: dict[type[Node], set[str]] = {
    MappingNode: {_TAG + "map"},
    SequenceNode: {_TAG + "seq"},
    ScalarNode: _TYPED | _TEXT,
}
# Values shorter than this are no secrets, and hiding them would hide the message's own words.
_SECRET = 4


@dataclass(frozen=True)
class About:
    """What a file is, for the sentences of its errors.

    `start` is where to begin; `variables`: it may hold some; `larger`: what to do with more than one file takes.
    """

    noun: str
    called: str
    start: str
    variables: bool = True
    larger: str | None = None


MANIFEST = About(
    "schema",
    "a manifest",
    "`motorctl schema init` prints one to start from",
    larger="a schema may be split: the files of a directory are read as one",
)

VALIDATOR = About(
    "validator",
    "a validator",
    "a validator looks like {$jsonSchema: {required: [email]}}; `motorctl validators show COLLECTION` prints one",
)


class _ShortTags(Scanner):
    """Stops at a long tag: ruamel decodes one in a time that grows with the square of its length."""

    def scan_tag_uri(self, name: Any, start_mark: Any) -> str:
        uri = str(super().scan_tag_uri(name, start_mark))
        if len(uri) > _LONGEST_TAG:
            raise ScannerError(None, None, "a tag has no meaning of that length", start_mark)
        return uri


class _Limited(Composer):
    """Stops at a depth that the interpreter can take, and at more nodes than any schema has."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.nodes += 1
        event = self.parser.peek_event()
        if self.depth > DEPTH_LIMIT:
            raise ComposerError(None, None, f"nested more than {DEPTH_LIMIT} deep", event.start_mark)
        if self.nodes > 2 * _MOST_VALUES + 2:
            raise ComposerError(
                None,
                None,
                f"more than {_MOST_VALUES:,} values: nobody wrote so many by hand",
                event.start_mark,
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class Document:
    """A file's plain value, and the place of every key and value in it.

    Variables are put in only where an `environment` is given. Raises ManifestError with the place of
    what is wrong; a variable's value is in no message.
    """

    def __init__(
        self, name: str, text: str, environment: Mapping[str, str] | None = None, *, about: About = MANIFEST
    ) -> None:
        self.name = name
        self.about = about
        self._environment = environment
        self._places: dict[Path_, tuple[int, int]] = {}
        self._keys: dict[Path_, tuple[int, int]] = {}
        self._used: dict[str, str] = {}
        self._variables: dict[Path_, str] = {}
        self._values = 0
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner, yaml.Composer = _ShortTags, _Limited
        try:
            # Not a stream: ruamel copies all that it has not yet left behind at each 4 KB it reads of one.
            root = yaml.compose(text)
            if root is None:
                raise ManifestError(f"{name} is empty", hint=about.start, file=name, line=1)
            self._constructor = yaml.constructor
            self._resolver = yaml.resolver
            self.value = self._plain(root, (), ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            problem = (error.problem or error.context or "is no YAML").strip()
            written = text.split("\n")[place[0] - 1 :][:1]
            in_braces = environment is not None and "".join(written)[: place[1]].endswith("${")
            hint = (
                "a variable within { } or [ ] stands in quotes, and is text there"
                if in_braces
                else "mend it there, or just before; a text with { } [ ] : or # in it stands in quotes"
            )
            if problem.startswith(("expected '<document start>'", "but found another document")):
                problem, hint = "a second document begins here", "a file holds one"
            self._raise(place, problem, hint=hint)
        except YAMLError as error:
            position = getattr(error, "position", None)
            before = text[:position] if isinstance(position, int) else ""
            place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
            self._raise(place, " ".join(str(error).split()))

    def place(self, path: Path_) -> tuple[int, int]:
        """Return line and column of a path's key, else of its value; both from 1."""
        return self._keys.get(path) or self._places[path]

    def variable(self, path: Path_) -> str | None:
        """Return the text of a value that variables were put into: never show what they made of it."""
        return self._variables.get(path)

    def fail(
        self, path: Path_, message: str, *, hint: str | None = None, at_key: bool = False, **details: Any
    ) -> NoReturn:
        """Raise the error of a value, or with `at_key` of its key."""
        found = self._keys if at_key else self._places
        place = next((found[path[:n]] for n in range(len(path), -1, -1) if path[:n] in found), (1, 1))
        key = next((str(step) for step in reversed(path) if isinstance(step, str)), None)
        dotted = ".".join(str(step) for step in path)
        self._raise(place, message, hint=hint, key=key, path=dotted, **details)

    def bson(self, value: Any, path: Path_) -> Any:
        """Turn a plain value that may hold Extended JSON into BSON values."""
        try:
            return to_bson_values(value)
        except ExtendedJSONError as error:
            for step in error.path:
                path = (*path, int(step)) if (*path, step) not in self._places else (*path, step)
            self.fail(path, error.reason)

    def _raise(
        self, place: tuple[int, int], message: str, hint: str | None = None, **details: Any
    ) -> NoReturn:
        line, column = place
        said = self._masked(message)
        if len(said) > _LONGEST_MESSAGE:
            # It quotes a key or a name that fills the file.
            said = f"{said[:_LONGEST_MESSAGE]}…"
        raise ManifestError(
            f"{self.name}:{line}:{column}: {said}",
            hint=self._masked(hint) if hint else None,
            file=self.name,
            line=line,
            column=column,
            **{name: self._masked(item) if isinstance(item, str) else item for name, item in details.items()},
        ) from None

    def _masked(self, text: str) -> str:
        for name, value in sorted(self._used.items(), key=lambda item: -len(item[1])):
            for form in (value, repr(value)[1:-1]):
                if len(value) >= _SECRET:
                    text = text.replace(form, f"${{{name}}}")
        return text

    def _plain(self, node: Any, path: Path_, above: tuple[Node, ...]) -> Any:
        self._places[path] = _place(node)
        self._count(path)
        if any(node is one for one in above):
            self.fail(path, "this alias holds itself", at_key=True)
        if len(path) > DEPTH_LIMIT:
            self.fail(path, f"nested more than {DEPTH_LIMIT} deep")
        if node.tag not in _TAGS[type(node)]:
            self.fail(path, f"{_shown_tag(node)} has no meaning in {self.about.called}")
        if isinstance(node, MappingNode):
            return self._mapping(node, path, (*above, node))
        if isinstance(node, SequenceNode):
            return [self._plain(item, (*path, n), (*above, node)) for n, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _count(self, path: Path_) -> None:
        self._values += 1
        if self._values > _MOST_VALUES:
            # A few aliases of aliases stand for more values than any memory holds.
            self.fail(
                path,
                f"more than {_MOST_VALUES:,} values, those of an alias counted wherever it stands: that is no {self.about.noun}",
            )

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        text = self._substituted(node, path)
        if node.tag in _TYPED:
            return self._typed(node, path)
        if self._environment is not None and node.style is None and is_one_variable(node.value):
            tag = self._resolver.resolve(ScalarNode, text, (True, False))
            alone = ScalarNode(tag, text, node.start_mark, node.end_mark)
            if alone.tag in _TYPED:
                return self._typed(alone, path)
        return text

    def _typed(self, node: ScalarNode, path: Path_) -> Any:
        try:
            return self._constructor.construct_object(node)
        except (ValueError, KeyError):
            self.fail(path, f"this is no {_shown_tag(node).removeprefix('!!')}")

    def _mapping(self, node: MappingNode, path: Path_, above: tuple[Node, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node, merged in self._entries(node, path, above):
            place = _place(key_node)
            if not isinstance(key_node, ScalarNode):
                self._raise(place, "a key is plain text", key=None)
            if key_node.tag not in _TYPED | _TEXT:
                self._raise(place, f"{_shown_tag(key_node)} has no meaning in {self.about.called}", key=None)
            key = self._substituted(key_node, path, is_key=True)
            if key in result and merged:
                continue
            if key in own:
                first = self._keys[*path, key][0]
                self._raise(place, f"the key {key} stands twice (first in line {first})", key=key)
            own.add(key)
            self._keys[*path, key] = place
            result[key] = self._plain(value_node, (*path, key), above)
        return result

    def _entries(
        self, node: MappingNode, path: Path_, above: tuple[Node, ...]
    ) -> Iterator[tuple[Node, Node, bool]]:
        """Walk a mapping's keys and values, then those that `<<` merges in: what stands there itself wins."""
        merges = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merges.append((key_node, value_node))
            else:
                yield key_node, value_node, False
        for key_node, merge in merges:
            for source in merge.value if isinstance(merge, SequenceNode) else [merge]:
                if not isinstance(source, MappingNode):
                    self._raise(_place(key_node), "<< takes a document or a list of documents", key="<<")
                if any(source is one for one in above):
                    self._raise(_place(key_node), "this alias holds itself", key="<<")
                self._count(path)
                for merged_key, merged_value, _ in self._entries(source, path, (*above, source)):
                    self._count(path)
                    yield merged_key, merged_value, True

    def _substituted(self, node: ScalarNode, path: Path_, *, is_key: bool = False) -> str:
        text = str(node.value)
        if self._environment is not None and "${" in text:
            try:
                text, used = substitute(text, self._environment)
            except VariableError as error:
                self._raise(_place(node), str(error), hint=error.hint)
            self._used |= used
            if used and not is_key:
                self._variables[path] = str(node.value)
        try:
            # JSON writes what lies beyond 16 bits as two halves, which YAML leaves apart.
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._raise(_place(node), "this text holds half of a character (a lone surrogate)")


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _shown_tag(node: Node) -> str:
    tag = str(node.tag)
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
