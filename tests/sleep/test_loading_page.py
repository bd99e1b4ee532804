"""What the loading page says in each phase, and that no label can add anything else to it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from pilotage.sleep.loading_assets import SCRIPT, STYLE
from pilotage.sleep.loading_page import (
    CONTENT_SECURITY_POLICY,
    EVENT_NAMES,
    WakeStatus,
    event_data,
    event_name,
    render_page,
    retry_after,
)
from pilotage.sleep.state import Phase

WAKING = WakeStatus(
    name="Shop",
    phase=Phase.WAKING,
    step="waiting for db to become healthy",
    done=("starting db",),
    waited=6.3,
    failure="",
    retry_in=None,
    typical=14.2,
)
FAILED = msgspec.structs.replace(WAKING, phase=Phase.FAILED, step="", failure="shop exited with code 1", retry_in=11.5)
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


def but(status: WakeStatus, **changes: Any) -> WakeStatus:
    return msgspec.structs.replace(status, **changes)


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        elements: tag and attributes of each element, in the order of the page.
        texts: ID, else tag -> text of the element.
        refresh: seconds until the page reloads itself, and whether only browsers without script do.

    """

    def __init__(self, status: WakeStatus, target: str = "") -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.refresh: tuple[str | None, bool] | None = None
        self._open: list[str] = []
        self.html = render_page(status, events_path="/.pilotage/wake-events", target=target)
        self.feed(self.html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs)
        self.elements.append((tag, attributes))
        if attributes.get("http-equiv") == "refresh":
            assert self.refresh is None
            self.refresh = (attributes["content"], "noscript" in self._open)
        if tag not in {"meta", "link", "img"}:
            self._open.append(attributes.get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in self._open[-1:]:
            self.texts[name] = self.texts.get(name, "") + data

    def attribute(self, tag: str, name: str) -> str | None:
        return next(attributes.get(name) for it, attributes in self.elements if it == tag)

    @property
    def look(self) -> str | None:
        return self.attribute("body", "data-look")


# ---- what it shows


def test_a_waking_service_shows_what_happens_what_is_done_and_how_long_it_takes() -> None:
    page = Page(WAKING)
    assert page.texts["title"] == "Shop is starting"
    assert page.texts["h1"] == "Shop"
    assert page.texts["headline"] == "Waiting for db to become healthy"
    assert page.texts["li"] == "Starting db"
    assert page.texts["elapsed"] == "6 s"
    assert page.texts["typical"] == "usually 15 s"
    assert page.look == "waking"


def test_the_bar_fills_with_the_time_of_the_last_wake_and_never_completely() -> None:
    values = [
        float(Page(but(WAKING, waited=seconds)).attribute("progress", "value") or "") for seconds in (0, 14.2, 99)
    ]
    assert values == [0, pytest.approx(0.82, abs=0.01), pytest.approx(0.95, abs=0.01)]


@pytest.mark.parametrize("status", [but(WAKING, typical=None), but(WAKING, typical=0.0), FAILED])
def test_the_bar_claims_nothing_if_the_time_is_not_known(status: WakeStatus) -> None:
    assert Page(status).attribute("progress", "value") is None


@pytest.mark.parametrize(("waited", "text"), [(0, "0 s"), (59.9, "59 s"), (65, "1 min 5 s"), (-3, "0 s")])
def test_elapsed_time_counts_whole_seconds(waited: float, text: str) -> None:
    assert Page(but(WAKING, waited=waited)).texts["elapsed"] == text


def test_a_failure_shows_the_error_and_a_link_to_the_same_page() -> None:
    page = Page(FAILED)
    assert page.texts["title"] == "Shop could not be started"
    assert page.texts["failure"] == "shop exited with code 1"
    assert page.texts["action"] == "Try again"
    assert page.texts["retry"] == "in 12 s"
    assert page.attribute("a", "href") == ""  # the URL of the page itself, with its query
    assert page.look == "failed"


def test_the_error_stays_when_another_attempt_is_allowed() -> None:
    page = Page(but(FAILED, phase=Phase.ASLEEP, retry_in=None))
    assert (page.look, page.texts["failure"], page.texts["action"]) == (
        "failed",
        "shop exited with code 1",
        "Try again",
    )
    assert "retry" not in page.texts


@pytest.mark.parametrize(
    ("status", "look", "headline"),
    [
        (but(WAKING, step=""), "waking", "Starting"),
        (but(WAKING, phase=Phase.ASLEEP), "asleep", "Asleep"),
        (but(WAKING, phase=Phase.QUIESCING), "moment", "Shutting down, then starting again"),
        (but(WAKING, phase=Phase.STOPPING), "moment", "Shutting down, then starting again"),
        (but(WAKING, phase=Phase.STOPPING, failure="old"), "moment", "Shutting down, then starting again"),
        (but(WAKING, phase=Phase.READY), "moment", "One moment"),
        (but(FAILED, failure=""), "failed", "Could not be started"),
    ],
)
def test_each_phase_has_its_headline(status: WakeStatus, look: str, headline: str) -> None:
    page = Page(status)
    assert (page.look, page.texts["headline"]) == (look, headline)


def test_only_the_last_steps_are_listed_and_the_others_counted() -> None:
    page = Page(but(WAKING, done=tuple(f"starting worker-{number}" for number in range(30))))
    assert [tag for tag, _ in page.elements].count("li") == 8
    assert page.texts["li"].endswith("Starting worker-29")
    assert page.texts["earlier"] == "22 earlier steps"
    assert "earlier" not in Page(WAKING).texts


@pytest.mark.parametrize(
    ("name", "letter"), [("shop", "S"), ("«élan»", "É"), ("☂", "•"), ("", "•"), ("日記", "日"), ("ßx", "SS")]
)
def test_a_service_without_an_icon_shows_its_first_letter(name: str, letter: str) -> None:
    page = Page(but(WAKING, name=name))
    assert page.texts["letter"] == letter
    assert "hidden" not in dict(page.elements)["span"]
    assert page.texts.get("div", "").strip() == ""


def test_an_icon_of_the_same_host_is_shown() -> None:
    page = Page(but(WAKING, icon="/static/icon.png?size=56&v=2"))
    assert page.attribute("img", "src") == "/static/icon.png?size=56&v=2"
    assert page.attribute("img", "alt") == ""
    assert page.attribute("link", "href") == "/static/icon.png?size=56&v=2"


@pytest.mark.parametrize(
    "icon",
    ["//evil.example/x", "/\\evil.example/x", "/\t/evil.example/x", "https://evil.example/x", "javascript:x", "x.png"],
)
def test_an_icon_elsewhere_is_not_loaded(icon: str) -> None:
    page = Page(but(WAKING, icon=icon))
    assert "img" not in [tag for tag, _ in page.elements]
    assert "evil" not in page.html
    assert page.attribute("link", "href") == "data:,"


# ---- without and with JavaScript


@pytest.mark.parametrize(
    ("phase", "refresh"),
    [
        (Phase.WAKING, ("2", True)),
        (Phase.STOPPING, ("2", True)),
        (Phase.QUIESCING, ("2", True)),
        (Phase.ASLEEP, ("2", True)),
        (Phase.READY, ("1", True)),
        (Phase.FAILED, None),
    ],
)
def test_the_page_reloads_itself_without_javascript_but_not_after_a_failure(
    phase: Phase, refresh: tuple[str, bool] | None
) -> None:
    assert Page(but(WAKING, phase=phase)).refresh == refresh


@pytest.mark.parametrize(
    "target", ["/", "/orders?page=2", "//evil.example/x", "/\\evil.example", "/a?b=%22&c='\"<script>;url=https://evil"]
)
def test_a_reload_without_javascript_stays_on_the_host_and_keeps_path_and_query(target: str) -> None:
    page = Page(WAKING, target)
    assert page.refresh == (f"2; url=/.{target}", True)
    url = yarl.URL("http://shop.example/x").join(yarl.URL(f"/.{target}".replace("\\", "/")))
    assert url.host == "shop.example"
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(WAKING).elements]


@pytest.mark.parametrize("target", ["*", "http://evil.example/", ""])
def test_a_request_without_a_path_reloads_the_url_that_the_browser_has(target: str) -> None:
    assert Page(WAKING, target).refresh == ("2", True)


def test_an_open_page_does_not_start_a_broken_service_again_and_again() -> None:
    page = Page(but(FAILED, phase=Phase.ASLEEP, retry_in=None))
    assert page.refresh is None
    assert page.texts["head"].isspace()


def test_the_script_gets_the_status_and_the_path_of_the_events() -> None:
    page = Page(WAKING)
    assert page.attribute("body", "data-events") == "/.pilotage/wake-events"
    assert page.attribute("body", "data-status") == event_data(WAKING).decode()


def test_screen_readers_are_told_what_happens_but_not_every_second() -> None:
    live = [attributes["id"] for _, attributes in Page(WAKING).elements if "aria-live" in attributes]
    assert live == ["headline"]


# ---- security


def allowed(directive: str) -> str:
    found = re.search(rf"(?:^|; ){directive} ([^;]+)", CONTENT_SECURITY_POLICY)
    return found[1] if found else ""


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_allows_exactly_the_script_and_the_style_of_the_page(kind: str) -> None:
    page = Page(WAKING)
    digest = base64.b64encode(hashlib.sha256(page.texts[kind].encode()).digest()).decode()
    assert allowed(f"{kind}-src") == f"'sha256-{digest}'"


@pytest.mark.parametrize(
    ("directive", "sources"),
    [
        ("default-src", "'none'"),
        ("img-src", "'self' data:"),
        ("connect-src", "'self'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
    ],
)
def test_the_policy_allows_the_icon_and_the_events_and_nothing_else(directive: str, sources: str) -> None:
    assert allowed(directive) == sources
    assert CONTENT_SECURITY_POLICY.count("-src ") == 5


def test_nothing_from_labels_becomes_markup() -> None:
    status = but(FAILED, name=HOSTILE, icon=HOSTILE, step=HOSTILE, done=(HOSTILE, HOSTILE), failure=HOSTILE)
    page = Page(status)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in Page(but(FAILED, done=("a", "b"))).elements]
    assert page.texts["h1"].startswith("\"'><script>")
    assert page.texts["failure"] == HOSTILE
    assert page.texts["script"] == SCRIPT
    assert page.texts["style"] == STYLE


@given(text=st.text(max_size=40), phase=st.sampled_from(Phase))
def test_no_text_changes_the_elements_of_the_page(text: str, phase: Phase) -> None:
    status = but(WAKING, phase=phase, failure="x")
    page = Page(but(status, name=text, step=text, done=(text,), failure=text or "x"))
    plain = Page(status)
    assert [(tag, set(attributes)) for tag, attributes in page.elements] == [
        (tag, set(attributes)) for tag, attributes in plain.elements
    ]
    assert json.loads(page.attribute("body", "data-status") or "") == json.loads(
        event_data(but(status, name=text, step=text, done=(text,), failure=text or "x"))
    )


@pytest.mark.parametrize("status", [WAKING, FAILED, but(WAKING, phase=Phase.READY, icon="/i.png")])
def test_nothing_but_the_icon_is_loaded_and_no_attribute_runs_or_styles(status: WakeStatus) -> None:
    for _, attributes in Page(status).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert {attributes[name] for name in ("src", "href") if name in attributes} <= {"", "data:,", "/i.png"}


def test_secrets_and_misleading_characters_are_not_shown() -> None:
    status = but(FAILED, failure="pull https://ann:hunter2@registry.example failed\u202e\x1b[31m", name="a\u202eb")
    for text in (Page(status).html, event_data(status).decode()):
        assert "hunter2" not in text
        assert not re.search("[\u202e\x1b]", text)


def test_long_texts_are_cut() -> None:
    long = "x" * 100_000
    status = but(FAILED, name=long, step=long, done=(long,) * 1000, failure=long, icon=f"/{long}")
    shown = json.loads(event_data(status))
    lengths = [len(shown[name]) for name in ("name", "step", "failure", "icon")]
    assert (lengths, {len(it) for it in shown["done"]}) == ([80, 160, 1000, 0], {160})
    assert len(Page(status).html) < len(Page(FAILED).html) + 8000


# ---- events and headers


def test_the_data_of_an_event_is_one_line_with_all_fields() -> None:
    data = event_data(but(FAILED, failure="first\nsecond\rthird\u2028fourth"))
    assert len(data.splitlines()) == 1
    assert data.isascii()
    assert json.loads(data).keys() > set(WakeStatus.__struct_fields__) - {"container"}
    assert json.loads(data)["phase"] == "failed"
    assert json.loads(event_data(but(FAILED, retry_in=0.25)))["retry_in"] == 0.25
    assert json.loads(event_data(but(FAILED, retry_in=-1.0)))["retry_in"] == 0


START = but(WAKING, step="", done=())


@pytest.mark.parametrize(
    ("before", "status", "name"),
    [
        (None, START, "starting"),
        (None, but(START, step="starting db"), "waking_dep"),
        (START, but(START, step="waiting for db to become healthy"), "waking_dep"),
        (START, but(START, step="starting shop", done=("starting db",)), "dep_ready"),
        (None, but(START, step="starting shop", done=("starting db",)), "starting"),
        (START, but(START, step="waiting for Shop to become healthy"), "waiting_ready"),
        (START, but(START, step="waiting for shop-1 to answer"), "waiting_ready"),
        (START, but(START, step="waiting for shop to answer", done=("starting shop",)), "container_woke"),
        (START, but(START, step="waiting for shop to answer", done=("started shop",)), "container_woke"),
        (
            START,
            but(START, step="waiting for shop-1 to answer", done=("started shop-1",), container="shop-1"),
            "container_woke",
        ),
        (START, but(START, step="starting shop-1", container="shop-1"), "starting"),
        (START, but(START, step="starting shop-1", done=("started db",), container="shop-1"), "dep_ready"),
        (but(START, done=("starting db",)), but(START, done=()), "starting"),
        (START, but(START, phase=Phase.READY, done=("starting shop",)), "ready"),
        (START, FAILED, "error"),
        (FAILED, but(FAILED, phase=Phase.ASLEEP), "error"),
        (None, but(START, phase=Phase.ASLEEP), "asleep"),
        (None, but(START, phase=Phase.QUIESCING), "quiescing"),
        (None, but(START, phase=Phase.STOPPING), "stopping"),
    ],
)
def test_events_have_the_names_of_godoxy(before: WakeStatus | None, status: WakeStatus, name: str) -> None:
    assert event_name(before, status) == name
    assert name in EVENT_NAMES


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        (WAKING, 8),
        (but(WAKING, waited=20.0), 2),
        (but(WAKING, typical=None), 2),
        (but(WAKING, typical=900.0), 30),
        (FAILED, 12),
        (but(FAILED, retry_in=0.2), 2),
        (but(WAKING, phase=Phase.READY), 1),
    ],
)
def test_clients_without_events_get_a_time_to_ask_again(status: WakeStatus, seconds: int) -> None:
    assert retry_after(status) == seconds
