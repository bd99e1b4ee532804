from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.port_syntax import PortPair
from pilotage.xds.variables import MAX_VARIABLES, VARIABLES, Upstream, VariableError, expand, fixed, upstream_of
from tests.support.gateway import route

SHOP = Upstream("shop", "https", "10.0.0.7", "8443", "10.0.0.7:8443")


def test_the_target_of_a_route_is_as_it_is_listed() -> None:
    assert upstream_of("shop", route("app", 80, host="fd00::7", port=PortPair(0, 8080))) == Upstream(
        "shop", "http", "fd00::7", "8080", "[fd00::7]:8080"
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("100% %REQ(:path)%", "100%% %%REQ(:path)%%"),
        ("$req_method", "%REQ(:METHOD)%"),
        ("a $remote_host b", "a %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% b"),
        ("$header(X-Name)", "%REQ(X-Name)%"),
        ("$header( X-Name )", "%REQ(X-Name)%"),
        ("$req_method(x)", "%REQ(:METHOD)%(x)"),
        ("$upstream_url/x", "https://10.0.0.7:8443/x"),
        ("$upstream_name:$upstream_scheme:$upstream_host:$upstream_port", "shop:https:10.0.0.7:8443"),
        ("$$req_method", "$req_method"),
        ("$$$req_method", "$%REQ(:METHOD)%"),
        ("5 $ and $5 and ${x} and $", "5 $ and $5 and ${x} and $"),
        ("$req_method%", "%REQ(:METHOD)%%%"),
    ],
)
def test_variables_become_operators_of_envoy(text: str, expanded: str) -> None:
    assert expand(text, SHOP) == expanded


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("$req_hots", "unknown variable $req_hots", "did you mean 'req_host'?"),
        ("$colour", "unknown variable $colour", "write $$colour for the text $colour"),
        ("$status_code", "$status_code has no value before there is a response", "use it in the middleware response"),
        (
            "$resp_header(A)",
            "$resp_header has no value before there is a response",
            "use it in the middleware response",
        ),
        ("$header", "$header needs a name in parentheses", "write $header(Name)"),
        ("$arg()", "$arg needs a name in parentheses", "write $arg(Name)"),
        ("$arg(a'b)", "$arg needs a name in parentheses", "write $arg(Name)"),
        ("$header(A)%REQ(B)%$header(A, 1)", "$header needs a name in parentheses", "write $header(Name)"),
        ("$form(a)", "$form has no value in a header, because the body arrives later", "use $arg or $header"),
        ("$req_host" * (MAX_VARIABLES + 1), f"a value has more than {MAX_VARIABLES} variables", "write fewer"),
    ],
)
def test_a_variable_without_a_value_is_reported(text: str, message: str, hint: str) -> None:
    with pytest.raises(VariableError) as caught:
        expand(text, SHOP)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_responses_have_all_variables() -> None:
    for name in VARIABLES:
        assert expand(f"${name}", SHOP, response=True)


def test_a_fixed_value_depends_on_no_request() -> None:
    assert fixed("$upstream_name.example.org$$5%", SHOP) == "shop.example.org$5%"
    for text in ("$req_host", "$header(A)", "$nothing", "$status_code"):
        with pytest.raises(VariableError):
            fixed(text, SHOP)


@given(st.text(alphabet="$%()ab_-:, 'REQreq_hostarg\\", max_size=30), st.booleans())
def test_no_text_forms_an_operator_of_envoy(text: str, response: bool) -> None:
    try:
        expanded = expand(text, SHOP, response=response)
    except VariableError:
        return
    own = [expand(f"${name}", SHOP, response=True) for name in VARIABLES if "(" not in name]
    for operator in sorted(own, key=len, reverse=True):
        expanded = expanded.replace(operator, "") if operator.startswith("%") else expanded
    for form in ("%REQ({})%", "%RESP({})%"):
        for name in ("a", "b", "R", "E", "Q"):
            expanded = expanded.replace(form.format(name), "")
    if "$arg" not in text and "header(" not in text:
        assert "%" not in expanded.replace("%%", "")
