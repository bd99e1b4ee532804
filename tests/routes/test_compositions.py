from __future__ import annotations

import pytest

from pilotage.core.yaml import parse_yaml
from pilotage.routes import Compositions, is_composition, read_compositions, read_route_file
from pilotage.xds.capabilities import GatewayCapabilities

FILE = """\
x-private: &private [10.0.0.0/8, 192.168.0.0/16]
my_lan:
  - use: CIDRWhitelist
    allow: *private
  - use: modify_response
    set_headers: {X-Lan: "1"}
outer:
  - use: redirect_http
  - use: myLan@file
"""


def read(text: str) -> tuple[Compositions, list[tuple[int, str]]]:
    compositions, problems = read_compositions([("m.yml", text)])
    assert {(problem.file, problem.severity) for problem in problems} <= {("m.yml", "warning")}
    return compositions, [(problem.line, problem.message) for problem in problems]


def test_lists_are_filled_in_in_their_order() -> None:
    compositions, problems = read(FILE)
    assert problems == []
    found, missing = compositions.fill_in({"request": {"a": 1}, "Outer@file": None})
    assert missing == ()
    assert found == {
        "request": {"a": 1},
        "Outer@file\n000\nredirect_http": None,
        "Outer@file\n001\nCIDRWhitelist": {"allow": ["10.0.0.0/8", "192.168.0.0/16"]},
        "Outer@file\n002\nmodify_response": {"set_headers": {"X-Lan": "1"}},
    }


def test_middlewares_without_lists_stay_as_they_are() -> None:
    assert read(FILE)[0].fill_in({"request": None}) == (None, ())


@pytest.mark.parametrize(
    ("text", "name", "message", "hint"),
    [
        (FILE, "mylam@file", "no file of middlewares defines mylam@file", "did you mean 'my_lan'?"),
        ("", "lan@file", "no file of middlewares defines lan@file", "list the file in providers.middlewares"),
        ("lan: [{use: oidcc}]", "lan@file", "lan@file has errors, so it cannot be used", "fix the file of middlewares"),
        (
            "lan: [{use: lan@file}]",
            "lan@file",
            "lan@file contains itself, or its lists are nested too deeply",
            "remove one",
        ),
        (
            "a: [{use: b@file}]\nb: [{use: c@file}, {use: themed}]\nc: [{use: a@file}]",
            "b@file",
            "b@file contains itself, or its lists are nested too deeply",
            "remove one",
        ),
        (
            "a: [" + "{use: themed}, " * 50 + "]\nb: [{use: a@file}, {use: a@file}]",
            "b@file",
            "b@file has more than 50 middlewares",
            "remove some",
        ),
        (
            "lan: [{use: none@file}]",
            "lan@file",
            "no file of middlewares defines none@file",
            "list the file in providers.middlewares",
        ),
    ],
)
def test_a_list_that_cannot_be_used_closes_the_route(text: str, name: str, message: str, hint: str) -> None:
    found, (problem,) = read(text)[0].fill_in({name: None, "themed": None})
    assert found == {"themed": None}
    assert (problem.message, problem.hint, problem.path) == (message, hint, f"middlewares.{name}")
    assert problem.refused


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [\n", 2, "the YAML is incomplete"),
        ("- use: x", 1, "a file of middlewares is a mapping, not a list"),
        ("a: {use: x}", 1, "a list of middlewares is needed here, not a mapping"),
        ("a:\n  - x", 2, "a middleware is a mapping, not text"),
        ("a:\n  - allow: [10.0.0.0/8]", 2, "a middleware needs one 'use' with its name"),
        ("a:\n  - use: x\n    USE: y", 2, "a middleware needs one 'use' with its name"),
        ("a:\n  - use: cidr_whitelist\n    allow: [10.0.0.0/33]", 3, "'10.0.0.0/33' is not a network"),
        ("a:\n  - use: nothing", 2, "unknown middleware"),
        ("a:\n  - use: b@file\n    allow: x", 2, "a list of middlewares from a file has no options"),
        ("a: []\nA: []", 2, "A is already defined"),
        ("a: [" + "{use: themed}, " * 51 + "]", 1, "the list has more than 50 middlewares"),
    ],
)
def test_an_error_is_reported_with_its_line(text: str, line: int, message: str) -> None:
    problems = read(text)[1]
    assert [at for at, _ in problems] == [line]
    if "YAML" not in message:
        assert problems[0][1] == message


def test_an_error_makes_only_its_own_list_unusable() -> None:
    compositions, problems = read("a: [{use: nothing}]\nb: [{use: themed}]")
    assert len(problems) == 1
    assert compositions.fill_in({"a@file": None})[1]
    assert compositions.fill_in({"b@file": None})[1] == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [{use: x}]", True),
        ("a: [{Use: x, b: c}]\nb: [{use: y}]", True),
        ("a: {host: x}", False),
        ("", False),
        ("[]", False),
    ],
)
def test_files_of_middlewares_are_recognized(text: str, expected: bool) -> None:
    assert is_composition(parse_yaml(text)) is expected


def test_a_file_of_middlewares_is_not_taken_for_routes() -> None:
    file = read_route_file("lan:\n  - use: CIDRWhitelist\n    allow: [10.0.0.0/8]\n", "m.yml")
    (problem,) = file.all_problems
    assert problem.message == "this is a list of middlewares, not a route"
    assert "providers.middlewares" in problem.hint


def test_a_route_has_the_middlewares_of_its_lists() -> None:
    gateway = GatewayCapabilities(compositions=read(FILE)[0])
    file = read_route_file(
        "a: {host: 10.0.0.5, middlewares: {my_lan@file: }}\nb: {host: h, middlewares: {no@file: }}",
        "r.yml",
        gateway=gateway,
    )
    good, bad = file.routes
    assert not good.excluded
    assert list(good.middlewares) == ["my_lan@file\n000\nCIDRWhitelist", "my_lan@file\n001\nmodify_response"]
    assert good.settings.middlewares == {"my_lan@file": None}
    assert bad.excluded
    assert [(it.message, it.line, it.refused) for it in bad.problems] == [
        ("no file of middlewares defines no@file", 2, True)
    ]


def test_a_route_names_each_list_once() -> None:
    found, missing = read(FILE)[0].fill_in({"my_lan@file": None, "MYLAN@file": None})
    assert [(it.message, it.hint, it.refused) for it in missing] == [
        ("MYLAN@file and my_lan@file are the same list", "keep one", True)
    ]
    assert found is not None
    assert len(found) == 2


def test_the_middlewares_that_a_route_names_are_limited() -> None:
    text = "\n".join(f"list{number}: [{'{use: themed}, ' * 50}]" for number in range(3))
    compositions, _ = read(text)
    two = {"list0@file": None, "list1@file": None}
    assert compositions.fill_in(two)[1] == ()
    found, problems = compositions.fill_in({**two, "list2@file": None})
    assert len(found or ()) == 100
    assert [(it.message, it.refused) for it in problems] == [
        ("the lists of this route have more than 100 middlewares together", True)
    ]


def test_few_of_many_wrong_names_are_reported() -> None:
    problems = read(FILE)[0].fill_in({f"no{number}@file": None for number in range(1000)})[1]
    assert 1 <= len(problems) <= 20
