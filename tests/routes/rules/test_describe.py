from __future__ import annotations

from pilotage.routes.rules import describe_rules, read_rules

RULES = """
header X-Key s3cret & !path glob("/a/*") | remote 10.0.0.0/8 { error 403 "not here" }
basic_auth me $2y$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {
  method GET {
    set header X-Api-Key s3cret
  } elif method POST {
    form a 1 {
      pass
    }
  } else {
    remove header X-A
  }
}
{ add resp_header X-B s3cret }
default { pass }
"""


def test_rules_are_described_without_their_secrets() -> None:
    found = describe_rules(read_rules(RULES))
    assert [(it.line, it.on, it.tested_by) for it in found] == [
        (2, "header X-Key … & !path glob(/a/*) | remote 10.0.0.0/8", "Envoy"),
        (3, "basic_auth me …", "Envoy and pilotage"),
        (14, "always", "Envoy"),
        (15, "default", "Envoy"),
    ]
    assert [it.do for it in found] == [
        ("error 403 not here",),
        (
            "if method GET",
            "  set header X-Api-Key …",
            "elif method POST",
            "  if form a …",
            "    pass",
            "else",
            "  remove header X-A",
        ),
        ("add resp_header X-B …",),
        ("pass",),
    ]
    assert "s3cret" not in str(found)


def test_a_rule_of_a_list_has_a_name() -> None:
    (found,) = describe_rules(read_rules([{"name": "old", "on": "path !/a", "do": "redirect /b"}]))
    assert (found.name, found.line, found.on, found.do) == ("old", 1, "path !/a", ("redirect /b",))
