from __future__ import annotations

from pilotage.routes.rules import address_of, places, read_rules


def test_commands_that_lead_to_addresses_and_files_are_found_wherever_they_are() -> None:
    rules = read_rules(
        "path /a {\n method GET { proxy http://a:81 }\n else { serve /srv }\n}\n"
        "path /b { proxy /b }\npath /c { route other }\ndefault { serve_file /srv/x }".replace("}\n else", "} else")
    )
    assert list(places(rules)) == [("proxy", ("http://a:81",)), ("serve", ("/srv",)), ("serve_file", ("/srv/x",))]


def test_an_address_has_the_usual_port_of_its_scheme() -> None:
    assert address_of("http://A.internal:81/x") == ("a.internal", 81)
    assert [address_of(f"{scheme}://[::1]")[1] for scheme in ("http", "https", "h2c")] == [80, 443, 80]
