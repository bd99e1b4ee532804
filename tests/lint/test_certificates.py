from __future__ import annotations

from pilotage.certificates.settings import AutocertSettings
from pilotage.lint.certificates import uncovered_hosts
from pilotage.lint.check import check_files
from tests.support.certificates import entry, route

CONFIG = "autocert: {provider: http-01, domains: [shop.example.com]}\nproviders: {docker: {local: 'tcp://n:1'}}\n"
COMPOSE = """\
services:
  shop:
    image: shop
    labels:
      proxy.aliases: shop.example.com, www.example.com
      proxy.*.port: 80
"""


def test_without_automatic_certificates_nothing_is_reported() -> None:
    assert list(uncovered_hosts([route("a.example.com")], AutocertSettings(), [])) == []


def test_a_host_that_no_certificate_covers_is_a_warning() -> None:
    (problem,) = uncovered_hosts([route("nas.lan")], AutocertSettings((entry(),)), [])
    assert (problem.severity, problem.route) == ("warning", "nas.lan")
    assert str(problem).startswith("shop: route nas.lan: no certificate will cover nas.lan: it is a local name; add it")


def test_check_reports_hosts_of_compose_files_with_their_line(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "pilotage.yml").write_text(CONFIG)
    (folder / "compose.yml").write_text(COMPOSE)
    found = check_files([str(folder / "compose.yml"), str(folder / "pilotage.yml")], {})
    (problem,) = found.problems
    assert problem.line == 5
    assert "no certificate will cover www.example.com: it is not in autocert.domains" in problem.message
