from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.cli.doctor import examine
from pilotage.cli.doctor.finding import Finding
from pilotage.config import EngineChoice
from tests.support.tls import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no name server, which may be on another machine."""
    monkeypatch.setattr(examine, "check_name", lambda domain: Finding(f"names *.{domain}", "ok", "they resolve"))


def by_check(found: list[Finding]) -> dict[str, str]:
    return {each.check: each.state for each in found}


def test_everything_that_the_configuration_names_is_checked(tmp_path: Path) -> None:
    cert, key = Authority(tmp_path, "ca").issue("shop", "shop.test", expired=True)
    file = tmp_path / "pilotage.yml"
    file.write_text(
        f"providers: {{docker: {{nas: 'unix://{tmp_path}/none.sock'}}}}\n"
        f"gateway: {{http: '127.0.0.1:0', https: 8443, access_log: {tmp_path}/access.log,"
        f" tls: {{cert_file: {cert}, key_file: {key}}}}}\n".replace("'127.0.0.1:0'", "false")
    )
    env = {"STATE_DIRECTORY": str(tmp_path), "PILOTAGE_SOCKET": str(tmp_path / "daemon.sock")}
    found = by_check(examine.examine(EngineChoice(config=str(file)), env))
    assert found["engine nas"] == found[f"certificate {cert}"] == "problem"
    assert {"envoy", "port 8443 (gateway.https)", "open files", "access log", "names *.localhost"} <= found.keys()
    assert found["configuration"] == found["state folder"] == found["daemon"] == "ok"
    without = by_check(examine.examine(EngineChoice(config=str(file)), env, gateway=False))
    assert not {"envoy", "open files", f"certificate {cert}"} & without.keys()


def test_a_mistake_in_the_configuration_is_a_problem_and_the_rest_waits_for_it(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("gateway: {htps: 8443}\n")
    found = examine.examine(EngineChoice(config=str(file)), {"PILOTAGE_SOCKET": str(tmp_path / "daemon.sock")})
    assert (found[0].check, found[0].state) == ("configuration", "problem")
    assert found[0].text == f"{file}:1:11: gateway.htps: unknown key 'htps'"
    assert found[0].remedy == "did you mean 'https'?"
    assert [each.check for each in found[1:]] == ["not checked"]
