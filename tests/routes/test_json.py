from __future__ import annotations

import json

from pilotage.routes.json import route_json
from pilotage.routes.route import EndpointHealth
from tests.support.summaries import ADDRESS, route


def test_the_json_of_a_route_has_labelled_fields_under_canonical_names() -> None:
    labels = {"proxy.web.NoTLSVerify": "true", "proxy.web.hold": "5s", "proxy.web.scheme": "https"}
    found = route_json(route(labels))
    assert found == json.loads(json.dumps(found))
    assert found == {
        "alias": "web",
        "provider": "local",
        "container": "web",
        "scheme": "https",
        "host": ADDRESS,
        "port": {"listening": 0, "proxy": 80},
        "listen": None,
        "target": f"https://{ADDRESS}:80",
        "endpoints": [{"container": "web", "host": ADDRESS, "port": 80, "state": "ready", "health": None}],
        "excluded": False,
        "excluded_reason": "",
        "refused": None,
        "health_check": True,
        "idle_watcher": False,
        "pool": None,
        "hold_s": 5.0,
        "no_tls_verify": True,
    }


def test_the_json_of_an_endpoint_has_its_probed_health() -> None:
    found = route_json(route(), {f"{ADDRESS}:80": EndpointHealth("unhealthy", 12.5)})
    assert found["endpoints"][0]["health"] == {"state": "unhealthy", "since": 12.5}
    assert EndpointHealth("unhealthy").remark == "fails the gateway's probe"


def test_the_bind_of_a_stream_shows() -> None:
    assert route_json(route({"proxy.web.port": "22:22"}))["bind"] == "0.0.0.0"
