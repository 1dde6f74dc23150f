"""Where each value comes from, what is refused, and that no password is ever shown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri

from motorctl import settings
from motorctl.errors import ConfigurationError
from motorctl.global_options import BY_NAME, FORMATS, OPTIONS, Option
from motorctl.near import near
from motorctl.redaction import redact, secrets_in
from motorctl.settings import DEFAULT_URI, Value, database_in, load

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner

VALUES: dict[str, tuple[tuple[Any, Any], ...]] = {
    # option: two (typed, meant) pairs, so that neither is the default
    "uri": (("mongodb://a", "mongodb://a"), ("mongodb://b", "mongodb://b")),
    "uri_file": (("/run/a", "/run/a"), ("/run/b", "/run/b")),
    "ask_password": (("1", True), ("0", False)),
    "db": (("shop", "shop"), ("college", "college")),
    "output": (("json", "json"), ("csv", "csv")),
    "timeout": (("0.5", 0.5), ("30", 30.0)),
    "retries": (("1", 1), ("9", 9)),
    "wait": (("10", 10.0), ("2.5", 2.5)),
    "slow_ms": (("0", 0), ("250", 250)),
    "stable_api": (("0", False), ("1", True)),
    "verbose": (("1", True), ("0", False)),
    "quiet": (("1", True), ("0", False)),
    "debug": (("1", True), ("no", False)),
    "log_format": (("json", "json"), ("text", "text")),
    "color": (("0", False), ("1", True)),
    "yes": (("1", True), ("0", False)),
}


def profile_file(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def toml(value: Any) -> str:
    return json.dumps(value)


def refused(flags: dict[str, Any], environ: dict[str, str] | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, environ or {})
    return caught.value


# Precedence


def test_every_option_is_in_the_table() -> None:
    assert set(VALUES) == set(BY_NAME) - {"config", "profile"}


@pytest.mark.parametrize("name", VALUES)
def test_precedence_of_each_option(name: str, tmp_path: Path) -> None:
    """Take the strongest place away, one at a time: each time the next one speaks."""
    option = BY_NAME[name]
    (strong, meant), (weak, weak_meant) = VALUES[name]
    flags = {name: strong}
    environ = dict.fromkeys(option.environment[:1], weak)
    config = profile_file(
        tmp_path / "c.toml",
        f"[profiles.dev]\n{name} = {toml(meant)}\n" if option.profile else "[profiles.dev]\n",
    )
    place = {"config": config, "profile": "dev"}

    assert load({**flags, **place}, environ)[name] == meant
    assert load(flags | place, environ).values[name].source == f"flag {settings._flag(option, strong)}"
    if option.environment:
        assert load(place, environ).values[name] == Value(weak_meant, f"environment {option.environment[0]}")
    if option.profile:
        assert load(place, {}).values[name] == Value(meant, "profile dev")
    assert load({}, {"XDG_CONFIG_HOME": str(tmp_path)}).values[name] == Value(option.default, "default")


def test_variables_of_the_uri_in_their_order() -> None:
    environ = {"MONGODB_URI": "mongodb://c", "MONGODB_URL": "mongodb://b", "MOTORCTL_URI": "mongodb://a"}
    for variable, host in (("MOTORCTL_URI", "a"), ("MONGODB_URL", "b"), ("MONGODB_URI", "c")):
        assert load({}, environ).values["uri"] == Value(f"mongodb://{host}", f"environment {variable}")
        del environ[variable]


def test_an_empty_variable_is_no_value() -> None:
    assert load({}, {"MOTORCTL_DB": "", "MOTORCTL_OUTPUT": ""}).values["db"] == Value(None, "default")


PLACES = st.sets(st.sampled_from(["flag", "environment", "profile"]))


@given(
    st.dictionaries(st.sampled_from(sorted(set(VALUES) - {"uri", "uri_file", "verbose", "quiet"})), PLACES)
)
def test_the_strongest_place_wins_whatever_the_others_say(
    tmp_path_factory: pytest.TempPathFactory, given_in: dict[str, set[str]]
) -> None:
    flags: dict[str, Any] = {}
    environ: dict[str, str] = {}
    lines = ["[profiles.dev]"]
    expected: dict[str, Value] = {}
    for name, places in given_in.items():
        option, ((typed, meant), (other, other_meant)) = BY_NAME[name], VALUES[name]
        expected[name] = Value(option.default, "default")
        if "profile" in places and option.profile:
            lines.append(f"{name} = {toml(other_meant)}")
            expected[name] = Value(other_meant, "profile dev")
        if "environment" in places and option.environment:
            environ[option.environment[0]] = typed
            expected[name] = Value(meant, f"environment {option.environment[0]}")
        if "flag" in places:
            flags[name] = other
            expected[name] = Value(other_meant, f"flag {settings._flag(option, other)}")
    config = profile_file(tmp_path_factory.getbasetemp() / "precedence.toml", "\n".join(lines))
    found = load({**flags, "config": config, "profile": "dev"}, environ)
    assert {name: found.values[name] for name in expected} == expected


# A URI and a URI file


@pytest.mark.parametrize(
    ("flags", "environ", "profile", "name", "value"),
    [
        ({"uri": "u1"}, {"MOTORCTL_URI_FILE": "f"}, {"uri_file": "p"}, "uri", "u1"),
        ({"uri_file": "f1"}, {"MOTORCTL_URI": "u"}, {"uri": "p"}, "uri_file", "f1"),
        ({}, {"MOTORCTL_URI_FILE": "f2"}, {"uri": "p"}, "uri_file", "f2"),
        ({}, {"MONGODB_URL": "u2"}, {"uri_file": "p"}, "uri", "u2"),
        ({}, {"MOTORCTL_URI_FILE": "f3", "MONGODB_URL": "u"}, {}, "uri_file", "f3"),
        ({}, {}, {"uri_file": "p1"}, "uri_file", "p1"),
        ({}, {}, {"uri": "p2"}, "uri", "p2"),
    ],
)
def test_of_uri_and_uri_file_the_stronger_place_counts(
    tmp_path: Path,
    flags: dict[str, str],
    environ: dict[str, str],
    profile: dict[str, str],
    name: str,
    value: str,
) -> None:
    text = "[profiles.dev]\n" + "".join(f"{k} = {toml(v)}\n" for k, v in profile.items())
    config = profile_file(tmp_path / "c.toml", text)
    found = load({**flags, "config": config, "profile": "dev"}, environ)
    other = {"uri": "uri_file", "uri_file": "uri"}[name]
    assert (found[name], found[other]) == (value, None)


def test_both_in_one_place_are_refused(tmp_path: Path) -> None:
    assert "command line" in refused({"uri": "a", "uri_file": "b"}).message
    assert "environment" in refused({}, {"MOTORCTL_URI": "a", "MOTORCTL_URI_FILE": "b"}).message
    config = profile_file(tmp_path / "c.toml", '[profiles.dev]\nuri = "a"\nuri_file = "b"\n')
    assert "profile" in refused({"config": config, "profile": "dev"}).message


def test_the_uri_of_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "uri"
    secret.write_text("mongodb://ada:hunter22@db.example.com/shop\n")
    found = load({"uri_file": str(secret)}, {})
    assert found.secrets() == ()  # nothing is read before it is needed
    assert found.address() == Value(
        "mongodb://ada:hunter22@db.example.com/shop", f"file {secret} (flag --uri-file)"
    )
    assert found.database().value == "shop"
    assert "hunter22" in found.secrets()


@pytest.mark.parametrize("content", [b"", b"no uri", b"mongodb://a mongodb://b", b"\xff\xfe"])
def test_a_file_without_one_uri_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "uri").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"connection string"):
        load({"uri_file": str(tmp_path / "uri")}, {}).address()


def test_a_missing_uri_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^cannot read the connection string from .*/none: no such file"
    ):
        load({"uri_file": str(tmp_path / "none")}, {}).address()


def test_without_any_uri_it_is_the_usual_port() -> None:
    assert load({}, {}).address() == Value(DEFAULT_URI, "default")
    assert load({}, {}).database() == Value("test", "default")


# Bad values


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        (
            {"output": "xml"},
            "--output: 'xml' is not one of table, json, ndjson, csv, markdown, html, svg",
            "such as --output table",
        ),
        (
            {"output": "jso"},
            "--output: 'jso' is not one of table, json, ndjson, csv, markdown, html, svg",
            "did you mean 'json'?",
        ),
        ({"log_format": "jsn"}, "--log-format: 'jsn' is not one of text, json", "did you mean 'json'?"),
        ({"timeout": "abc"}, "--timeout: 'abc' is not a number of seconds", "such as 5 or 0.5"),
        ({"timeout": "nan"}, "--timeout: nan is out of range", None),
        ({"timeout": "inf"}, "--timeout: inf is out of range", None),
        ({"timeout": "-1"}, "--timeout: -1 is out of range", None),
        ({"timeout": "0"}, "--timeout: 0 is out of range", None),
        ({"retries": "0"}, "--retries: 0 is out of range", None),
        ({"retries": "2.5"}, "--retries: '2.5' is not a whole number", "such as 3"),
        ({"slow_ms": "-5"}, "--slow-ms: -5 is out of range", None),
        ({"db": ""}, "--db: '' is not a text", None),
        ({"verbose": True, "quiet": True}, "--verbose and --quiet exclude each other", None),
    ],
)
def test_bad_flags(flags: dict[str, Any], message: str, hint: str | None) -> None:
    error = refused(flags)
    assert (error.message, error.hint) == (message, hint)


def test_bad_variables_are_named() -> None:
    assert (
        refused({}, {"MOTORCTL_TIMEOUT": "soon"}).message
        == "MOTORCTL_TIMEOUT: 'soon' is not a number of seconds"
    )
    error = refused({}, {"MOTORCTL_DEBUG": "perhaps"})
    assert (error.message, error.hint) == ("MOTORCTL_DEBUG: 'perhaps' is neither yes nor no", "use 1 or 0")


PROFILE_ERRORS = [
    ("[profiles.dev]\noutptu = 'json'\n", "profile 'dev': unknown key 'outptu'", "did you mean 'output'?"),
    ("[profiles.dev]\nyes = true\n", "profile 'dev': unknown key 'yes'", "known are: color, db, "),
    ("[profiles.dev]\nzzz = 1\n", "profile 'dev': unknown key 'zzz'", "known are: "),
    ("[profiles.dev.options]\nmaxPoolsize = 5\n", "profile 'dev': options: unknown key 'maxPoolsize'", "did you mean 'maxPoolSize'?"),
    ("[profiles.dev]\noptions = 5\n", "profile 'dev': options is not a table", None),
    ("[profiles.prod]\n[profiles.test]\n", "has no profile 'dev'", "it has: prod, test"),
    ("", "has no profile 'dev'", "it has: none"),
    ("profiles = 5\n", "has no profile 'dev'", "it has: none"),
    ("[profiles]\ndev = 5\n", "profile 'dev' is not a table", "[profiles.dev]"),
    ("[profile.dev]\n", "unknown key 'profile'", "did you mean 'profiles'?"),
    ("[profiles.dev\n", "(at line 1, column 14)", "a profile is a table"),
    ("[profiles.dev]\ntimeout = 'soon'\n", "profile dev: timeout: 'soon' is not a number of seconds", "such as 5"),
    ("[profiles.dev]\ntimeout = true\n", "profile dev: timeout: True is not a number of seconds", None),
    ("[profiles.dev]\nretries = 2.5\n", "profile dev: retries: 2.5 is not a whole number", None),
    ("[profiles.dev]\ndb = 5\n", "profile dev: db: 5 is not a text", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), PROFILE_ERRORS)
def test_bad_profiles(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    error = refused({"config": profile_file(tmp_path / "c.toml", text), "profile": "dev"})
    assert message in error.message
    assert (error.hint or "").startswith(hint or "\0") is bool(hint)


@pytest.mark.parametrize("value", ["5", "[]", "{}", "'none'"])
def test_a_default_profile_that_is_none(tmp_path: Path, value: str) -> None:
    config = profile_file(tmp_path / "c.toml", f"default_profile = {value}\n[profiles.dev]\n")
    assert "has no profile" in refused({"config": config}).message


def test_a_binary_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xff\x00")
    assert str(tmp_path / "c.toml") in refused({"config": str(tmp_path / "c.toml")}).message


# The profile file


def test_the_file_stands_in_the_xdg_directory(tmp_path: Path) -> None:
    (tmp_path / "motorctl").mkdir()
    profile_file(
        tmp_path / "motorctl" / "config.toml", 'default_profile = "dev"\n[profiles.dev]\ndb = "shop"\n'
    )
    found = load({}, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert found.values["db"] == Value("shop", "profile dev")
    assert found.values["profile"].value == "dev"
    assert found.config_path == tmp_path / "motorctl" / "config.toml"


def test_a_profile_that_is_named_beats_the_default_one(tmp_path: Path) -> None:
    config = profile_file(
        tmp_path / "c.toml", 'default_profile = "a"\n[profiles.a]\ndb = "x"\n[profiles.b]\ndb = "y"\n'
    )
    assert load({"config": config}, {})["db"] == "x"
    assert load({"config": config}, {"MOTORCTL_PROFILE": "b"})["db"] == "y"
    assert load({"profile": "a"}, {"MOTORCTL_PROFILE": "b", "MOTORCTL_CONFIG": config})["db"] == "x"


def test_a_missing_file_matters_only_when_it_was_asked_for(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    assert load({}, environ)["db"] is None
    assert "no configuration file at" in refused({"profile": "dev"}, environ).message
    assert "no configuration file at" in refused({"config": str(tmp_path / "c.toml")}).message
    assert "Is a directory" in refused({"config": str(tmp_path)}).message


def test_a_configuration_directory_that_is_a_file_is_no_file() -> None:
    assert load({}, {"XDG_CONFIG_HOME": "/dev/null"})["db"] is None


def test_options_of_the_driver(tmp_path: Path) -> None:
    text = '[profiles.dev.options]\nmaxPoolSize = 5\ntlsCertificateKeyFilePassword = "k3yp4ss"\n'
    found = load({"config": profile_file(tmp_path / "c.toml", text), "profile": "dev"}, {})
    assert found.driver_options == {"maxPoolSize": 5, "tlsCertificateKeyFilePassword": "k3yp4ss"}
    assert found.secrets() == ("k3yp4ss",)


@pytest.mark.parametrize("secret", ["", "a"])
def test_a_secret_too_short_to_cut_out_cuts_nothing(tmp_path: Path, secret: str) -> None:
    text = f'[profiles.dev.options]\ntlsCertificateKeyFilePassword = "{secret}"\n'
    found = load({"config": profile_file(tmp_path / "c.toml", text), "profile": "dev"}, {})
    assert redact("a banana", found.secrets()) == "a banana"


def test_secrets_in_a_table_of_mechanism_properties(tmp_path: Path) -> None:
    text = '[profiles.dev.options.authMechanismProperties]\nAWS_SESSION_TOKEN = "t0ken5"\n'
    found = load({"config": profile_file(tmp_path / "c.toml", text), "profile": "dev"}, {})
    assert found.secrets() == ("t0ken5",)


def test_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(*_: object, **__: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_config_dir", no_home)
    assert str(load({}, {}).config_path) == os.devnull


def test_without_a_home_variable_the_program_works(motorctl: Runner) -> None:
    env = {"HOME": "", "XDG_CONFIG_HOME": ""}
    assert motorctl("config", "show", "-o", "json", env=env).code == 0


def test_no_color() -> None:
    assert load({}, {"NO_COLOR": "1"}).values["color"] == Value(False, "environment NO_COLOR")
    assert load({}, {"NO_COLOR": ""}).values["color"] == Value(None, "default")
    assert load({"color": True}, {"NO_COLOR": "1"})["color"] is True


def test_slow_commands_are_reported_from_100_ms_when_verbose() -> None:
    assert load({}, {}).slow_ms is None
    assert load({"verbose": True}, {}).slow_ms == 100
    assert load({"verbose": True, "slow_ms": "5"}, {}).slow_ms == 5


def test_the_sources_of_switches_are_what_was_typed() -> None:
    found = load({"color": False, "stable_api": False, "yes": True}, {})
    assert [found.values[n].source for n in ("color", "stable_api", "yes")] == [
        "flag --no-color",
        "flag --no-stable-api",
        "flag --yes",
    ]


def test_the_option_names_are_one_set() -> None:
    flags = [flag for option in OPTIONS for word in option.flags for flag in word.split("/")]
    assert len(flags) == len(set(flags))
    assert all(isinstance(option, Option) and option.help.endswith(".") for option in OPTIONS)


def test_near() -> None:
    assert near("studnts", ["students", "users"]) == "did you mean 'students'?"
    assert near("stu", ["users", "students"]) == "did you mean 'students'?"
    assert near("zzz", ["students"]) is None


# Redaction

SCHEMES = st.sampled_from(["mongodb://", "mongodb+srv://", "MongoDB://"])
NO_SPACE = st.text(min_size=1).filter(
    lambda text: len(text.split()) == 1 and text == text.strip() and not any(map(str.isspace, text))
)
PASSWORDS = NO_SPACE | st.text("@:/%?#&='\"\\ü€😀abc", min_size=1)
USERS = st.text("abcxyz@.%-_0", min_size=1)
AROUND = st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"])).filter(
    lambda text: "mongodb" not in text.lower()
)


@given(SCHEMES, USERS, PASSWORDS)
def test_no_password_survives_in_a_uri(scheme: str, user: str, password: str) -> None:
    uri = f"{scheme}{user}:{password}@db.example.com:27017/shop?replicaSet=rs0"
    assert redact(uri) == f"{scheme}{user}:***@db.example.com:27017/shop?replicaSet=rs0"


@given(AROUND, AROUND, SCHEMES, PASSWORDS)
def test_the_text_around_a_uri_stays(before: str, after: str, scheme: str, password: str) -> None:
    text = f"{before}{scheme}ada:{password}@host/db {after}"
    assert redact(text) == f"{before}{scheme}ada:***@host/db {after}"


@given(SCHEMES, st.text(st.characters(exclude_characters="<>*", exclude_categories=["Cs"]), min_size=4))
def test_no_form_of_a_password_survives_in_a_message(scheme: str, password: str) -> None:
    """Alone, as `repr` and as JSON show it, whether the URI has it as it is or percent-encoded."""
    for written in (password, quote_plus(password, errors="surrogatepass")):
        secrets = secrets_in(f"{scheme}ada:{written}@host/db")
        for form in (written, password, repr(password), json.dumps(password), f"{scheme}ada:{written}@host"):
            assert password not in redact(f"<{form}>", secrets)


@given(AROUND)
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assert redact(text) == text


@given(SCHEMES, PASSWORDS)
def test_redacting_twice_is_redacting_once(scheme: str, password: str) -> None:
    once = redact(f"{scheme}ada:{password}@host/db")
    assert redact(once) == once


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://ada@example.com:s3cret@h/db", "mongodb://ada@example.com:***@h/db"),
        ("mongodb://u:p'q\"r@h,h2:1/db", "mongodb://u:***@h,h2:1/db"),
        ("mongodb:/u:s3cret@h/db", "mongodb:/u:***@h/db"),
        ("mongodb:///u:s3cret@h/db", "mongodb:///u:***@h/db"),
        ("mongodb://u:@h", "mongodb://u:***@h"),
        ("'mongodb://u:p@h' and \"mongodb://v:q@i\"", "'mongodb://u:***@h' and \"mongodb://v:***@i\""),
        ("mongodb://h:27017/db", "mongodb://h:27017/db"),
        ("mongodb://u@h:27017/db", "mongodb://u@h:27017/db"),
        ("no server at h:27017; ask ops@example.com", "no server at h:27017; ask ops@example.com"),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=a,'b&w=1", "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=***&w=1"),
        ("'mongodb://h/?proxyPassword=abc' failed", "'mongodb://h/?proxyPassword=***' failed"),
        ("authMechanismProperties=AWS_SESSION_TOKEN:abc/+=", "authMechanismProperties=AWS_SESSION_TOKEN:***"),
    ],
)  # fmt: skip
def test_redaction_by_example(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_secrets_of_a_uri() -> None:
    assert secrets_in("mongodb://h:27017/db") == ()
    assert "pq77zk88" in secrets_in("mongodb://u:pq77zk88"), (
        "no @HOST: the password stands where a port should be"
    )
    assert secrets_in("mongodb://u:abc@h") == ()  # too short to be cut out of every text
    assert {"p%40ss+1", "p@ss+1", "p@ss 1"} <= set(secrets_in("mongodb://u:p%40ss+1@h"))
    assert {"open", "open@door"} <= set(secrets_in("mongodb://u:open@door@h"))
    assert "two words" in secrets_in("mongodb://u:two words@h")
    assert "k3yp4ss" in secrets_in("mongodb://h/?tlsCertificateKeyFilePassword=k3yp4ss")


HOSTS = st.lists(st.sampled_from(["h", "h:1", "[::1]", "10.0.0.1:27018"]), min_size=1, max_size=3).map(
    ",".join
)
NAMES = st.text("abcDEF_-09", max_size=5) | st.sampled_from(["shop%2Dx", "shop.orders"])


@given(HOSTS, st.sampled_from(["", "u@", "u:p%40%2F@"]), NAMES, st.sampled_from(["", "?w=1", "?appName=a/b"]))
def test_the_database_is_the_one_that_pymongo_finds(hosts: str, user: str, name: str, query: str) -> None:
    uri = f"mongodb://{user}{hosts}/{name}{query}"
    assert database_in(uri) == (parse_uri(uri)["database"] or None)


def test_no_database_in_a_uri_without_a_path() -> None:
    assert database_in("mongodb://h") is None
    assert database_in("mongodb://h?w=1") is None


# config show, config path

PASSWORD = "pa'ss\"w@rd/é"


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("output", FORMATS)
def test_config_show_prints_no_password(cli: Runner, tmp_path: Path, output: str, tty: bool) -> None:
    secret = tmp_path / "uri"
    secret.write_text(f"mongodb://ada:{PASSWORD}@db.example.com/shop?tlsCertificateKeyFilePassword=k3yp4ss")
    text = '[profiles.dev.options]\ntlsCertificateKeyFilePassword = "abc"\nmaxPoolSize = 7\n'
    config = profile_file(tmp_path / "c.toml", text)
    result = cli(
        *("config", "show", "-o", output, "--uri-file", str(secret), "--config", config, "-p", "dev"),
        connected=False, tty=tty, columns=200,
    )  # fmt: skip
    assert (result.code, result.stderr) == (0, "")
    assert "mongodb://ada:***@db.example.com/shop?tlsCertificateKeyFilePassword=***" in result.stdout
    for word in ("pa'ss", "w@rd", "k3yp4ss", '"abc"', " abc"):
        assert word not in result.stdout
    assert "options.maxPoolSize" in result.stdout


def test_config_show_tells_each_source(cli: Runner, tmp_path: Path) -> None:
    config = profile_file(
        tmp_path / "c.toml", "[profiles.dev]\nretries = 7\n[profiles.dev.options]\nmaxPoolSize = 7\n"
    )
    result = cli(
        *("config", "show", "-o", "json", "--config", config, "-p", "dev", "--uri", "mongodb://h/shop"),
        env={"MOTORCTL_TIMEOUT": "2"},
        connected=False,
    )
    rows = {row["setting"]: (row["value"], row["source"]) for row in result.json()}
    assert rows["output"] == ("json", "flag --output")
    assert rows["timeout"] == (2.0, "environment MOTORCTL_TIMEOUT")
    assert rows["retries"] == (7, "profile dev")
    assert rows["wait"] == (0.0, "default")
    assert rows["db"] == ("shop", "URI (flag --uri)")
    assert rows["options.maxPoolSize"] == (7, "profile dev")
    assert set(rows) == {*BY_NAME, "options.maxPoolSize"}


def test_config_path(cli: Runner, tmp_path: Path) -> None:
    place = tmp_path / "xdg-config" / "motorctl" / "config.toml"
    assert cli("config", "path").stdout == f"{place}\n"
    assert cli("config", "path", "-o", "json").json() == {"path": str(place), "exists": False}
    config = profile_file(tmp_path / "c.toml", "")
    assert cli("config", "path", "-o", "json", "--config", config).json() == {"path": config, "exists": True}


def test_a_bad_setting_is_a_usage_error_in_the_form_asked_for(cli: Runner) -> None:
    result = cli("config", "show", "--timeout", "soon", "-o", "json")
    assert (result.code, result.stdout) == (2, "")
    assert result.error() == {
        "code": "configuration",
        "exit": 2,
        "message": "--timeout: 'soon' is not a number of seconds",
        "hint": "such as 5 or 0.5",
    }


@pytest.mark.parametrize("uri", ["mongodb://ada:rosebud@h/", "MongoDB+srv://ada:rosebud@h/"])
def test_a_connection_string_where_a_file_is_meant_is_not_shown(uri: str) -> None:
    with pytest.raises(
        ConfigurationError, match="this is a connection string, not the name of a file"
    ) as error:
        load({"uri_file": uri}, {}).address()
    assert "rosebud" not in f"{error.value}{error.value.hint}"
