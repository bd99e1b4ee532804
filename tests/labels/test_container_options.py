from __future__ import annotations

import pytest

from pilotage.labels.container_options import (
    IDLE_LABELS,
    NO_OPTIONS,
    STOP_SIGNALS,
    ContainerOptions,
    IdleConfig,
    decode_options,
    parse_idle,
)
from pilotage.labels.keys import filter_labels


def config(**labels: str) -> IdleConfig:
    found, problems = parse_idle({f"proxy.{name}": text for name, text in labels.items()})
    assert problems == []
    assert found is not None
    return found


def reported(**labels: str) -> list[tuple[str, str, str]]:
    found, problems = parse_idle({f"proxy.{name}": text for name, text in labels.items()})
    assert found is None
    return [(problem.label, problem.message, problem.hint) for problem in problems]


def test_without_a_timeout_a_container_never_sleeps() -> None:
    assert parse_idle({}) == (None, [])
    assert parse_idle({"proxy.idle_timeout": "", "proxy.stop_method": "nonsense"}) == (None, [])


def test_unset_options_have_defaults() -> None:
    assert config(idle_timeout="5m") == IdleConfig(
        idle_timeout=300, wake_timeout=180, stop_timeout=60, stop_method="stop"
    )


def test_zero_timeouts_have_defaults_too() -> None:
    found = config(idle_timeout="5m", wake_timeout="0", stop_timeout="0s")
    assert (found.wake_timeout, found.stop_timeout) == (180, 60)


def test_everything_can_be_set() -> None:
    assert config(
        idle_timeout="1h30m",
        wake_timeout="30",
        stop_method="pause",
        stop_timeout="1.5s",
        stop_signal="SIGINT",
        start_endpoint="/wake#part",
        depends_on="db:service_healthy, cache,",
        no_loading_page="t",
    ) == IdleConfig(
        idle_timeout=5400,
        wake_timeout=30,
        stop_method="pause",
        stop_timeout=1.5,
        stop_signal="SIGINT",
        start_endpoint="/wake",
        depends_on=("db:service_healthy", "cache"),
        no_loading_page=True,
    )


@pytest.mark.parametrize(("text", "active"), [("5m", True), ("0", False), ("-1s", False)])
def test_only_a_positive_timeout_puts_to_sleep(text: str, active: bool) -> None:
    assert config(idle_timeout=text).active is active


def test_an_idle_timeout_of_zero_disables_the_other_options() -> None:
    found = config(idle_timeout="0", stop_method="nonsense", start_endpoint="nonsense")
    assert (found.stop_method, found.wake_timeout) == ("nonsense", 0)


def test_every_error_is_reported_with_its_label() -> None:
    assert reported(
        idle_timeout="soon",
        wake_timeout="1x",
        stop_method="Stop",
        stop_signal="SIGTREM",
        stop_timeout="1 s",
        start_endpoint="wake",
        no_loading_page="yes",
    ) == [
        ("proxy.idle_timeout", "'soon': not a duration; write a number with a unit, such as 30s, 5m or 1h30m", ""),
        ("proxy.wake_timeout", "'1x': unknown unit 'x'; the units are ms, s, m, h, d, w, M (month)", ""),
        ("proxy.stop_timeout", "'1 s': not a duration; write a number with a unit, such as 30s, 5m or 1h30m", ""),
        ("proxy.no_loading_page", "'yes' is not a boolean", "write true or false"),
        ("proxy.stop_method", "'Stop' is not allowed here; write one of stop, pause, kill", "did you mean 'stop'?"),
        (
            "proxy.stop_signal",
            f"'SIGTREM' is not allowed here; write one of {', '.join(STOP_SIGNALS)}",
            "did you mean 'SIGTERM'?",
        ),
        ("proxy.start_endpoint", "'wake' is neither an absolute path nor a URL", "write /wake"),
    ]


def test_a_start_endpoint_may_not_be_a_fragment_alone() -> None:
    assert [label for label, _, _ in reported(idle_timeout="5m", start_endpoint="#top")] == ["proxy.start_endpoint"]


@pytest.mark.parametrize("endpoint", ["/wake", "*", "http://example.com/wake"])
def test_a_start_endpoint_is_a_path_a_star_or_a_url(endpoint: str) -> None:
    assert config(idle_timeout="5m", start_endpoint=endpoint).start_endpoint == endpoint


@pytest.mark.parametrize("endpoint", ["wake", "http:", "http://[", "a/b"])
def test_anything_else_is_refused_as_a_start_endpoint(endpoint: str) -> None:
    assert reported(idle_timeout="5m", start_endpoint=endpoint)


# ---- all options ----------------------------------------------------------------------------------------------------


def options(**labels: str) -> ContainerOptions:
    return decode_options(filter_labels({f"proxy.{name}": text for name, text in labels.items()}))


def test_without_labels_there_are_no_options() -> None:
    assert decode_options(filter_labels({"com.example": "x"})) is NO_OPTIONS
    assert options(**{"web.port": "80"}) is NO_OPTIONS


def test_aliases_are_lower_cased_and_keep_their_order_and_duplicates() -> None:
    assert options(aliases="Shop, admin shop,,").aliases == ("shop", "admin", "shop")


@pytest.mark.parametrize(("text", "exclude"), [("true", True), ("T", True), ("0", False), ("", None)])
def test_exclude_is_a_boolean_or_unset(text: str, exclude: bool | None) -> None:
    assert (options(exclude=text).exclude, options(exclude=text).problems) == (exclude, ())


def test_an_unreadable_exclude_excludes_and_is_reported() -> None:
    found = options(exclude="yes")
    assert found.exclude is True
    (problem,) = found.problems
    assert (problem.label, problem.value, problem.hint) == ("proxy.exclude", "yes", "write true or false")
    assert problem.message == "'yes' is not a boolean; the container stays excluded"


def test_errors_in_idle_labels_are_errors_of_the_container() -> None:
    found = options(idle_timeout="soon", network="front", depends_on="db, cache")
    assert (found.idle, [error.label for error in found.errors]) == (None, ["proxy.idle_timeout"])
    assert (found.network, found.depends_on) == ("front", ("db", "cache"))


@pytest.mark.parametrize("signal", "SIGINT SIGTERM SIGKILL SIGQUIT SIGHUP INT TERM KILL QUIT HUP".split())
def test_these_signals_stop_a_container(signal: str) -> None:
    assert config(idle_timeout="5m", stop_signal=signal).stop_signal == signal


def test_an_idle_timeout_of_zero_keeps_the_times_at_zero() -> None:
    found = config(idle_timeout="0")
    assert (found.idle_timeout, found.wake_timeout, found.stop_timeout, found.stop_method) == (0.0, 0.0, 0.0, "")


def test_the_labels_for_idling_are_those_of_the_settings() -> None:
    assert [label.removeprefix("proxy.") for label in IDLE_LABELS] == list(IdleConfig.__struct_fields__)


def test_every_problem_of_the_options_is_kept() -> None:
    found = options(aliases=",".join(f"a{i}" for i in range(1001)), exclude="yes", depends_on="x," * 1000)
    assert len(found.aliases) == len(found.depends_on) == 1000
    assert [problem.label for problem in found.problems] == ["proxy.exclude", "proxy.aliases", "proxy.depends_on"]
    full = options(aliases=",".join(f"a{i}" for i in range(1000)), depends_on=",".join("x" * 1000))
    assert (len(full.aliases), len(full.depends_on), full.problems) == (1000, 1000, ())


def test_options_after_aliases_count_and_empty_ones_are_unset() -> None:
    found = options(aliases="a", network="front")
    assert (found.aliases, found.exclude, found.network, found.problems) == (("a",), None, "front", ())
    assert options(network="front").aliases == ()


def test_a_start_endpoint_may_be_a_url_of_4096_characters() -> None:
    longest = "http://example.com/".ljust(4096, "x")
    assert config(idle_timeout="5m", start_endpoint=longest).start_endpoint == longest
    assert reported(idle_timeout="5m", start_endpoint=longest + "x")


def test_aliases_are_spelled_as_clients_request_them() -> None:
    found = options(aliases="Bücher.example.com, shop.example.com., *")
    assert found.aliases == ("xn--bcher-kva.example.com", "shop.example.com", "*")
