"""Properties of any labels and any responses, from an engine's list to the table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pilotage import build_routes, build_table, from_docker
from pilotage.labels.keys import CONTAINER_OPTIONS, SHORTCUTS
from pilotage.output.json import document
from pilotage.routes.build import RouteBuilder
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.schema import PROTECTIVE, ROUTE
from pilotage.table.snapshot import build_snapshot
from tests.support.examples import more_examples
from tests.support.summaries import LOCAL, REMOTE, built, container, summary

pytestmark = pytest.mark.filterwarnings("error")
thorough = settings(more_examples(3), suppress_health_check=[HealthCheck.too_slow])

FIELDS = [*ROUTE.fields, "bogus", "Middle_Wares", "midlewares", "agent", "path_patterns", ""]
INNER = [
    "path",
    "interval",
    "disable",
    "link",
    "listening",
    "proxy",
    "allow",
    "cidr_whitelist",
    "rate_limit",
    "period",
    "x",
]
VALUES = """80|8080:80|65536|-1|https|tcp|fileserver|0|0s|5s|true|yes|/up|10.0.0.0/8|127.0.0.1|null|~|.nan|9e999|
{path: /up, interval: 5}|interval: 0|{allow: [10.0.0.0/8]}|{cidr_whitelist: {allow: x}}|[1, 2]|- a|a: [|&a {<<: *a}|
port: 80\\nhost: x|rules: {a: b}|{port: {listening: 1, proxy: 2}}|
rate_limit: {average: 0, period: .inf}|x: !!binary a"""

labels = st.dictionaries(
    st.one_of(
        st.sampled_from([f"proxy.{name}" for name in (*CONTAINER_OPTIONS, *SHORTCUTS, "", "*", "#1", "web", "app")]),
        st.builds(
            "proxy.{}.{}".format, st.sampled_from(["web", "app", "*", "#1", "$2", "Web"]), st.sampled_from(FIELDS)
        ),
        st.builds(
            "proxy.{}.{}.{}".format,
            st.sampled_from(["web", "app", "*", "#1"]),
            st.sampled_from(FIELDS),
            st.sampled_from(INNER),
        ),
        st.builds("proxy.web.{}.{}.{}".format, st.sampled_from(FIELDS), st.sampled_from(INNER), st.sampled_from(INNER)),
        st.sampled_from(["com.docker.compose.project", "com.docker.compose.service", "com.docker.compose.oneoff", "x"]),
        st.text().map("proxy.{}".format),
        st.text(),
    ),
    st.sampled_from([text.replace("\\n", "\n") for text in VALUES.replace("|\n", "|").split("|")]) | st.text(),
    max_size=6,
)
ports = st.lists(
    st.fixed_dictionaries(
        {"PrivatePort": st.integers(0, 70_000)},
        optional={
            "PublicPort": st.integers(0, 70_000),
            "Type": st.sampled_from(["tcp", "udp", "sctp"]),
            "IP": st.just("::"),
        },
    ),
    max_size=4,
)
summaries = st.builds(
    lambda labels, ports, state, mode, address, image: summary(
        labels=labels,
        Ports=ports,
        State=state,
        HostConfig={"NetworkMode": mode},
        NetworkSettings={"Networks": {"net": {"IPAddress": address}}},
        Image=image,
    ),
    labels,
    ports,
    st.sampled_from(["running", "exited", "paused", ""]),
    st.sampled_from(["bridge", "host", "none", "container:abc", ""]),
    st.sampled_from(["10.0.0.5", "", "fd00::5"]),
    st.sampled_from(["nginx", "postgres", ""]) | st.text(),
)

# Few keys and few values, so that containers often have the same shape.
label_sets_of_few = st.dictionaries(
    st.builds(
        "proxy.{}.{}".format, st.sampled_from(["a", "b", "*", "#1", "$2", "c"]), st.sampled_from(["port", "host"])
    )
    | st.sampled_from(["proxy.ports", "proxy.a", "proxy.*", "proxy.#1", "x"]),
    st.sampled_from(["80", "port: 81", "y"]),
    max_size=3,
)


@thorough
@example([summary(Ports=[{"PrivatePort": 1, "PublicPort": 65536}])], REMOTE)
@given(st.lists(summaries, max_size=3), st.sampled_from([LOCAL, REMOTE]))
def test_any_containers_give_a_table_that_can_be_printed(listed: list[dict[str, Any]], config: Any) -> None:
    containers = [from_docker(plain | {"Id": str(n)}, config) for n, plain in enumerate(listed)]
    snapshot = build_snapshot(config, containers)
    table = build_table([snapshot])
    plain = msgspec.json.decode(msgspec.json.encode(document([snapshot], table)))
    assert set(plain) == {"containers", "routes", "pools", "problems"}
    assert len(plain["containers"]) == len(listed)
    for alias, route in plain["routes"].items():
        assert alias == route["alias"] == alias.lower()
        assert route["excluded"] is bool(route["excluded_reason"])
        assert not (route["excluded"] and route["endpoints"])
        assert all(0 < endpoint["port"] <= 65535 and endpoint["host"] for endpoint in route["endpoints"])
    for problem in table.problems:
        assert problem.message
        assert problem.provider == config.name
        assert problem.container
        assert str(problem).isprintable()
        assert problem.value.isprintable()


@thorough
@given(summaries, st.data())
def test_the_order_in_which_an_engine_lists_labels_does_not_matter(plain: dict[str, Any], data: st.DataObject) -> None:
    shuffled = plain | {"Labels": dict(data.draw(st.permutations(list(plain["Labels"].items()))))}
    one, other = (build_routes(from_docker(each, LOCAL)) for each in (plain, shuffled))
    assert msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


@thorough
@given(
    st.text(st.characters(categories=["Ll", "Lu", "Nd"], include_characters="_-"), min_size=1).filter(
        lambda name: ROUTE.canonical(name) is None
    ),
    st.sampled_from(["proxy.web.{}", "proxy.*.{}", "proxy.#1.{}", "proxy.web.{}.deeper", "proxy.web.{}.a.b"]),
    labels,
)
def test_a_label_with_an_unknown_field_is_always_reported(field: str, form: str, others: dict[str, str]) -> None:
    own = form.format(field)
    # Another label of the same field may replace it; one of the container itself may leave it without routes.
    rest = {
        key: text
        for key, text in others.items()
        if field.lower() not in (key + text).lower() and key.removeprefix("proxy.") not in CONTAINER_OPTIONS
    }
    found = built(rest | {own: "1"})
    assert any(problem.label == own and problem.path == field for problem in found.problems)


@thorough
@given(
    st.sampled_from(sorted(PROTECTIVE)), st.sampled_from(VALUES.split("|")), st.sampled_from(["", ".x", ".x.y"]), labels
)
def test_a_route_with_a_broken_access_rule_is_never_served(
    field: str, text: str, deeper: str, others: dict[str, str]
) -> None:
    found = built(others | {f"proxy.web.{field}{deeper}": text})
    for route in found.routes:
        mine = [p for p in found.problems if p.route == route.alias and p.path.split(".")[0].split("[")[0] == field]
        if any(problem.severity == "error" for problem in mine):
            assert route.excluded_reason == ExclusionReason.ERROR


@thorough
@example([({"proxy.*.port": "81"}, "*,b"), ({"proxy.a.port": "81"}, "a,b")])
@example([({"proxy.a.port": "81"}, "a,b"), ({"proxy.#1.port": "81"}, "#1,b")])
@given(
    st.lists(
        st.tuples(label_sets_of_few, st.sampled_from(["a,b", "b,a", "*,b", "#1,b", "ports,a", "a,a,b"])), max_size=8
    )
)
def test_cached_labels_of_one_container_never_leak_into_another(fleet: list[tuple[dict[str, str], str]]) -> None:
    """Labels of one shape are read once and cached: the routes are the same with and without a cache."""
    containers = [container(labels=labels | {"proxy.aliases": aliases}) for labels, aliases in fleet]
    cached = list(map(RouteBuilder().build, containers))
    assert cached == [RouteBuilder().build(each) for each in containers]
