"""Problems for GitHub, and as SARIF."""

from __future__ import annotations

from pilotage.core.problems import Problem
from pilotage.output.reports import github_commands, sarif_log

NASTY = Problem(
    message="100% wrong\n::stop-commands::x\r", hint="a, b: c", file="/w/a,b:c%\n::error::.yml", line=3, column=7
)


def test_a_strangers_file_gives_the_runner_no_commands() -> None:
    (command,) = github_commands([NASTY], "/w")
    assert command == (
        "::error file=a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3A.yml,line=3,col=7,title=pilotage::"
        "100%25 wrong\\n::stop-commands::x\\r; a, b: c"
    )


def test_a_command_has_only_the_properties_that_are_known() -> None:
    problems = [Problem(message="m", severity="warning"), Problem(message="m", file="f", line=2, container="web")]
    assert list(github_commands(problems, "/")) == [
        "::warning title=pilotage::m",
        "::error file=f,line=2,title=pilotage::web: m",
    ]


def test_a_sarif_log_has_what_the_specification_requires() -> None:
    problems = [NASTY, Problem(message="m", severity="warning"), Problem(message="n", file="/other/x y.yml", line=2)]
    log = sarif_log({"/w/compose.yml": "compose", "/other/x y.yml": "routes"}, problems, "/w", "1.2.3")
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert rules[result["ruleIndex"]] == result["ruleId"]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert places == [
        {
            "artifactLocation": {"uri": "a%2Cb%3Ac%25%0A%3A%3Aerror%3A%3A.yml"},
            "region": {"startLine": 3, "startColumn": 7},
        },
        {"artifactLocation": {"uri": "compose.yml"}},
        {"artifactLocation": {"uri": "file:///other/x%20y.yml"}, "region": {"startLine": 2}},
    ]
    assert [artifact["location"]["uri"] for artifact in run["artifacts"]] == ["compose.yml", "file:///other/x%20y.yml"]


def test_without_any_file_a_result_has_no_location() -> None:
    assert "locations" not in sarif_log({}, [Problem(message="m")], "/", "1.2.3")["runs"][0]["results"][0]
