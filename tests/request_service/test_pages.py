from __future__ import annotations

import pytest

from pilotage.request_service.asked import Asked
from pilotage.request_service.pages import accepts_page, error_page, passes, redirect, sign_in_required, sign_out_form


def asked(**headers: str) -> Asked:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(service="oidc", route="route/app", method="GET", host="app", path="/", headers=given)


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ({"accept": "text/html"}, True),
        ({"accept": "text/html", "sec_fetch_mode": "navigate"}, True),
        ({"accept": "*/*"}, False),
        ({"accept": "text/html", "sec_fetch_mode": "no-cors"}, False),
        ({"accept": "text/html", "upgrade": "websocket"}, False),
        ({"accept": "text/html", "x_requested_with": "XMLHttpRequest"}, False),
    ],
)
def test_only_page_loads_can_be_redirected(headers: dict[str, str], page: bool) -> None:
    assert accepts_page(asked(**headers)) is page


def test_untrusted_texts_are_escaped() -> None:
    page = error_page(asked(accept="text/html"), 403, "<b>", "<i>", link=('/"x', "<u>")).denied_response
    assert page.status.code == 403
    assert not [it for it in ("<b>", "<i>", "<u>", '"/"x"') if it in page.body]
    assert error_page(asked(), 403, "No.", "x").denied_response.body == "No.\n"
    assert "&quot;" in sign_out_form('/"').denied_response.body


def test_a_page_may_load_and_run_nothing() -> None:
    headers = {it.header.key: it.header.value for it in sign_out_form("/x").denied_response.headers}
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"


def test_other_clients_get_401_in_their_format() -> None:
    assert sign_in_required(asked(accept="application/json"), "app").denied_response.body == (
        '{"status": 401, "error": "Sign in at http://app/ with a browser first."}\n'
    )
    assert sign_in_required(asked(), "app").denied_response.status.code == 401


def test_a_passed_request_has_only_the_headers_that_are_known() -> None:
    ok = passes({"user": "ann", "name": "", "other": "x"}, (("set-cookie", "a=b"),)).ok_response
    assert [(it.header.key, it.header.value) for it in ok.headers] == [("Remote-User", "ann")]
    assert [it.header.value for it in ok.response_headers_to_add] == ["a=b"]


def test_a_redirect_is_never_cached() -> None:
    answer = redirect("https://x/").denied_response
    headers = {it.header.key: it.header.value for it in answer.headers}
    assert (answer.status.code, headers["location"], headers["cache-control"]) == (302, "https://x/", "no-store")
