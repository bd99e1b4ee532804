from __future__ import annotations

import msgspec
import pytest

from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import Located
from pilotage.labels.key_schema import Key, fold
from pilotage.routes.access_log import AccessLog
from pilotage.routes.fields import FieldContext
from pilotage.routes.mappings import StructKind
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import (
    PROTECTIVE,
    ROUTE,
    ROUTE_KEYS,
    UNSUPPORTED,
    HealthCheck,
    Homepage,
    LoadBalance,
    RouteSettings,
)
from tests.support.field_values import read_route, reported_at

STRUCTS = [RouteSettings, HealthCheck, LoadBalance, Homepage, AccessLog]


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_has_a_meaning_and_a_default_of_its_own_type(struct: type[msgspec.Struct]) -> None:
    kind = StructKind(struct)
    assert list(kind.fields) == list(struct.__struct_fields__)
    for name, field in kind.fields.items():
        assert field.meaning.endswith("."), name
        assert fold(name) not in UNSUPPORTED, name
    assert struct() == struct()


@pytest.mark.parametrize("struct", STRUCTS)
def test_no_two_fields_share_a_spelling(struct: type[msgspec.Struct]) -> None:
    spellings = [fold(s) for name, field in StructKind(struct).fields.items() for s in (name, *field.spellings)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_example_is_a_value_of_its_field(struct: type[msgspec.Struct]) -> None:
    for name, field in StructKind(struct).fields.items():
        if field.example:
            context = FieldContext(visible=EVERYTHING, path=name)
            found = field.kind.read(Located(field.example, "label"), context)
            assert context.problems == [], name
            assert found is not msgspec.UNSET, name


def test_these_fields_are_protective() -> None:
    expected = {"bind", "inbound_mtls_profile", "middlewares", "path_patterns", "rule_file", "rules", "tls_termination"}
    assert expected == PROTECTIVE


def test_all_spellings_name_one_field() -> None:
    for key in ("no_tls_verify", "NoTLSVerify", "notlsverify", "NO_TLS_VERIFY"):
        assert ROUTE.canonical(key) == "no_tls_verify"
        assert ROUTE_KEYS.find(key).name == "no_tls_verify"
    assert StructKind(HealthCheck).canonical("disabled") == "disable"
    assert ROUTE.canonical("no-tls-verify") is None
    assert ROUTE_KEYS.find("Bogus") == Key("Bogus")


# ---- reading --------------------------------------------------------------------------------------------------------


def test_fields_are_read_at_any_depth() -> None:
    found, context = read_route(
        """
        scheme: https
        port: 2222:22
        healthcheck: {disabled: true, interval: 10, path: /up}
        load_balance: {link: shop, weight: '3', sticky_max_age: 2h}
        homepage: {desc: text, widget: {A: 1}}
        access_log:
          stdout: true
          keep: 7 days
          fields: {header: {default: keep}}
          filters: {status_codes: {values: [404, 500-599]}}
        """
    )
    assert reported_at(context) == []
    assert found["port"] == PortPair(2222, 22)
    assert found["healthcheck"] == HealthCheck(disable=True, interval=10.0, path="/up")
    assert found["load_balance"] == LoadBalance(link="shop", weight=3, sticky_max_age=7200.0)
    assert found["homepage"] == Homepage(description="text", widget_config={"A": 1})
    log = found["access_log"]
    assert (log.stdout, log.retention, log.fields.headers.default) == (True, {"days": 7}, "keep")
    assert log.filters.status_codes.values == ("404", "500-599")


def test_every_error_is_reported_with_its_path_and_place() -> None:
    found, context = read_route(
        "port: 80\nbogus: 1\nhealthcheck:\n  pth: /x\n  interval: 5x\nscheme: ftp\nmax_conns_per_host: many\n"
    )
    assert found["port"] == PortPair(0, 80)
    assert found["healthcheck"] == HealthCheck()
    assert reported_at(context) == [
        ("bogus", 2, 1, "unknown field", ""),
        ("healthcheck.pth", 4, 3, "unknown field", "did you mean 'path'?"),
        ("healthcheck.interval", 5, 13, "'5x': unknown unit 'x'; the units are ms, s, m, h, d, w, M (month)", ""),
        ("scheme", 6, 9, "'ftp' is not one of http, https, h2c, tcp, udp, fileserver", ""),
        ("max_conns_per_host", 7, 21, "'many' is not a whole number", ""),
    ]
    assert not context.refused


@pytest.mark.parametrize(
    ("text", "hint"),
    [("sheme: x", "did you mean 'scheme'?"), ("shceme: x", "did you mean 'scheme'?"), ("colour: x", "")],
)
def test_an_unknown_field_is_reported_with_the_nearest_known_one(text: str, hint: str) -> None:
    _, context = read_route(text)
    assert [problem.hint for problem in context.problems] == [hint]


@pytest.mark.parametrize(
    ("written", "meant"), [("grpc", "h2c"), ("GRPCS", "https"), ("ws", "http"), ("HTTP", "http"), ("tls", "tcp")]
)
def test_other_names_of_a_scheme_suggest_the_right_one(written: str, meant: str) -> None:
    _, context = read_route(f"scheme: {written}")
    assert [problem.hint for problem in context.problems] == [f"did you mean {meant!r}?"]


def test_every_label_below_an_unknown_field_is_reported() -> None:
    value = Located(
        {"a": Located("1", "proxy.web.bogus.a"), "b": Located("1", "proxy.web.bogus.b")}, "proxy.web.bogus.a"
    )
    context = FieldContext(visible=EVERYTHING)
    ROUTE.read_fields({"bogus": value}, context)
    assert [(p.label, p.path, p.message) for p in context.problems] == [
        ("proxy.web.bogus.a", "bogus", "unknown field"),
        ("proxy.web.bogus.b", "bogus", "unknown field"),
    ]


def test_an_empty_field_name_is_reported() -> None:
    _, context = read_route("'': 1")
    assert reported_at(context) == [("", 1, 1, "empty field name", "write proxy.<alias>.<field>")]


@pytest.mark.parametrize(
    ("text", "fatal"),
    [
        ("bind: eth0", True),
        ("middlewares: {nope: {}}", True),
        ("middlewares: [a]", True),
        ("rules: 5", True),
        ("rule_file: [a]", True),
        ("inbound_mtls_profile: {}", True),
        ("midlewares: {cidr_whitelist: {allow: 10.0.0.1}}", True),
        ("rule: x", True),
        ("bnid: 127.0.0.1", True),
        ("ssl_protocols: [SSLv3]", True),
        ("agent: node9", True),
        ("scheme: ftp", False),
        ("sheme: http", False),
        ("proxmox: {}", False),
        ("healthcheck: {midlewares: 1}", False),
    ],
)
def test_an_error_in_a_protective_field_refuses_the_route(text: str, fatal: bool) -> None:
    _, context = read_route(text)
    assert len(context.problems) == 1
    assert context.refused is fatal


@pytest.mark.parametrize("key", ["idlewatcher", "proxmox"])
def test_fields_that_only_godoxy_has_are_reported_as_unsupported(key: str) -> None:
    _, context = read_route(f"{key}: {{}}")
    ((path, _, _, message, hint),) = reported_at(context)
    assert (path, hint) == (key, "remove it")
    assert "a GoDoxy field that pilotage does not support" in message


def test_null_leaves_a_field_as_it_is() -> None:
    found, context = read_route("scheme:\nhealthcheck: ~\nmiddlewares: null\n")
    assert (found, reported_at(context)) == ({}, [])


# ---- health checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "failures"),
    [
        (HealthCheck(), 3),
        (HealthCheck(interval=60), 1),
        (HealthCheck(interval=1), 15),
        (HealthCheck(retries=0), 3),
        (HealthCheck(retries=-1), 1),
        (HealthCheck(retries=7), 7),
    ],
)
def test_a_target_is_down_after_fifteen_seconds_of_failures_by_default(check: HealthCheck, failures: int) -> None:
    assert check.failures == failures


# ---- for machines ---------------------------------------------------------------------------------------------------


def test_durations_in_json_have_their_unit_and_unset_fields_are_absent() -> None:
    assert ROUTE.fields["healthcheck"].kind.dump("healthcheck", HealthCheck(interval=10)) == (
        "healthcheck",
        {"disable": False, "path": "/", "use_get": False, "interval_s": 10, "timeout_s": 5.0, "retries": 1},
    )
    _, log = ROUTE.fields["access_log"].kind.dump("access_log", AccessLog(stdout=True))
    assert (log["retention"], "rotate_interval_s" in log) == ({"days": 30}, False)


def test_any_settings_can_be_written_as_json() -> None:
    found, _ = read_route(
        "healthcheck: {interval: 0, timeout: 0, retries: 0}\naccess_log: {path: /x, rotate_interval: 0}"
    )
    for name, value in found.items():
        msgspec.json.encode(ROUTE.fields[name].kind.dump(name, value))
