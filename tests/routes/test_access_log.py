from __future__ import annotations

from pilotage.core.secrets import HIDDEN
from pilotage.routes.access_log import AccessLog
from pilotage.routes.schema import (
    ROUTE,
)
from tests.support.field_values import read_route, reported_at


def test_an_access_log_needs_a_destination() -> None:
    found, context = read_route("access_log: {format: json}")
    assert "access_log" not in found
    assert [message for *_, message, _ in reported_at(context)] == ["path or stdout is required"]


def test_an_access_log_names_its_retention_in_json() -> None:
    _, log = ROUTE.fields["access_log"].kind.dump("access_log", AccessLog(stdout=True))
    assert (log["retention"], log["format"]) == ({"days": 30}, "combined")


def test_every_detail_of_an_access_log_is_read_in_any_spelling() -> None:
    found, context = read_route(
        """access_log:
  path: /var/log/app.log
  stdout: true
  format: common
  keep: 2 weeks
  rotate_interval: 1h
  filters:
    status_codes: {negative: true, values: [404, 500-599]}
    method: {values: [GET]}
    host: {values: [a.example.com]}
    headers: {values: [X-A=1]}
    cidr: {values: [10.0.0.0/8]}
  fields:
    header: {default: keep, config: {X-A: drop}}
    queries: {default: drop}
    cookie: {default: redact}
"""
    )
    assert reported_at(context) == []
    assert found["access_log"].fields.headers.config == {"X-A": "drop"}
    _, log = ROUTE.fields["access_log"].kind.dump("access_log", found["access_log"])
    assert log == {
        "path": "/var/log/app.log",
        "stdout": True,
        "format": "common",
        "retention": {"days": 14},
        "rotate_interval_s": 3600,
        "filters": {
            "status_codes": {"negative": True, "values": ["404", "500-599"]},
            "method": {"negative": False, "values": ["GET"]},
            "host": {"negative": False, "values": ["a.example.com"]},
            "headers": {"negative": False, "values": ["<hidden>"]},
            "cidr": {"negative": False, "values": ["10.0.0.0/8"]},
        },
        "fields": {
            "headers": {"default": "keep", "config": HIDDEN},
            "query": {"default": "drop"},
            "cookies": {"default": "redact"},
        },
    }


def test_an_access_log_drops_headers_and_cookies_and_keeps_the_query_by_default() -> None:
    log = AccessLog()
    defaults = (log.fields.headers.default, log.fields.query.default, log.fields.cookies.default)
    assert defaults == ("drop", "keep", "drop")
    assert (log.path, log.stdout, log.format, log.retention) == ("", False, "combined", None)


def test_an_access_log_without_a_destination_says_how_to_name_one() -> None:
    _, context = read_route("access_log: {format: json}")
    assert [hint for *_, hint in reported_at(context)] == [
        "set access_log.stdout to true, or access_log.path to a file"
    ]
