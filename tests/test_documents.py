"""The reference pages agree with the code: options, API paths, metrics, configuration and image lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import trustme

from pilotage.api import openapi
from pilotage.api.metrics import Metrics
from pilotage.certificates.status import EventKind
from pilotage.cli.commands.serve import serve
from pilotage.config.load import read_config
from pilotage.containers import from_docker
from pilotage.containers.blacklist import is_blacklisted
from pilotage.engine.config import DockerProviderConfig
from pilotage.table.diff import ChangeKind
from pilotage.xds.options import GatewayOptions
from pilotage.xds.variables import MAX_VARIABLES, VARIABLES

DOCS = Path(__file__).parent.parent / "docs"
SERVE = DOCS / "reference" / "serve.md"
HTTP_API = DOCS / "reference" / "http-api.md"
CONFIGURATION = DOCS / "reference" / "configuration.md"
LABEL_RULES = DOCS / "reference" / "label-rules.md"
MIDDLEWARES = DOCS / "reference" / "middlewares.md"


def rows(page: Path, header: str) -> list[str]:
    """Return the first cells of the table whose first header cell is ``header``."""
    match = re.search(rf"^\| {header} \|.*\n\|[ -|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)
    assert match is not None, f"{page} has no table of {header}"
    return [line.split("|")[1].strip() for line in match[1].splitlines()]


def yaml_blocks(page: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_the_option_table_of_serve_lists_the_options_of_the_command() -> None:
    documented = {option for cell in rows(SERVE, "option") for option in re.findall(r"--[a-z-]+", cell)}
    known = {option for parameter in serve.params for option in parameter.opts}
    assert documented == known - {"--help"}


def test_the_path_table_of_the_api_lists_the_paths_of_the_openapi_document() -> None:
    documented = {cell.strip("`").replace("NAME", "{name}") for cell in rows(HTTP_API, "path")}
    assert documented <= set(openapi.document()["paths"])
    assert set(openapi.document()["paths"]) - documented <= {"/openapi.json"}
    assert "/openapi.json" in HTTP_API.read_text()


def test_the_event_tables_list_the_kinds_of_events() -> None:
    documented = {kind for cell in rows(HTTP_API, "event") for kind in re.findall(r"`(\w+)`", cell)}
    assert documented == {*get_args(ChangeKind), "table", "certificate", "traffic"}
    assert [cell.strip("`") for cell in rows(HTTP_API, "`kind`")] == list(get_args(EventKind))


def test_the_metrics_table_lists_only_metrics_that_exist() -> None:
    folder = Path(__file__).parent.parent / "src" / "pilotage" / "api"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    known = {name.removesuffix("_total") for name in re.findall(r'(?:"|# TYPE )(pilotage_[a-z_]+)[" ]', source)}
    documented = {name for cell in rows(HTTP_API, "name") for name in re.findall(r"pilotage_[a-z_]+", cell)}
    assert {name.removesuffix("_total") for name in documented} == known
    assert b"pilotage_event_to_table_seconds" in Metrics().text()


def test_alert_rules_use_metrics_of_the_table() -> None:
    documented = {name for cell in rows(HTTP_API, "name") for name in re.findall(r"pilotage_[a-z_]+", cell)}
    used = {
        name
        for page in DOCS.rglob("*.md")
        for rule in re.findall(r"^ +expr: (.+)$", page.read_text(), re.MULTILINE)
        for name in re.findall(r"pilotage_[a-z_]+", rule)
    }
    assert "pilotage_certificate_expiry_timestamp_seconds" in used
    assert used <= documented


@pytest.mark.parametrize("block", yaml_blocks(CONFIGURATION), ids=lambda text: text.partition("\n")[0])
def test_the_examples_of_the_configuration_are_valid(block: str, tmp_path: Path) -> None:
    for name in re.findall(r"[\w./-]+\.(?:pem|crt|key)|[\w./-]*token[\w./-]*(?=\s|$)", block):
        if not name.startswith("/"):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            if name.endswith("-ca.pem"):
                trustme.CA().cert_pem.write_to_path(file)
    text = re.sub(r"(?<=[ :{])/(?=[\w/.-]*token)", "", block)
    for name in re.findall(r"token_file: ([\w./-]+)", text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    env = {"NODE2_HOST": "192.0.2.2", "HOME": str(tmp_path), "DOCKER_HOST": "unix:///run/docker.sock"}
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env=env)
    assert config.problems == ()


def test_the_settings_in_the_examples_cover_the_gateway_options() -> None:
    text = "\n".join(yaml_blocks(CONFIGURATION))
    renamed = {
        "http_address": "http",
        "http_port": "http",
        "https_address": "https",
        "https_port": "https",
        "certificates": "tls",
        "client_profiles": "inbound_mtls_profiles",
        "client_profile": "inbound_mtls_profile",
        "hsts_max_age": "hsts",
        "max_client_connections": "max_connections_per_client",
    }
    keys = {renamed.get(field.name, field.name) for field in msgspec.structs.fields(GatewayOptions)}
    # from whether pilotage runs the Envoys, from the engines, from the session secret, from the folder for sockets,
    # from the section ``cloudflare``;
    # the last one is fixed
    derived = {
        "report_errors",
        "has_agents",
        "automatic_certificates",
        "cloudflare_lists",
        "session_keys",
        "files_socket",
        "max_waiting_in_all",
    }
    assert {key for key in keys if not re.search(rf"^\s*#?\s*{key}:", text, re.MULTILINE)} == derived


def test_every_image_that_the_rules_call_a_backend_is_blacklisted() -> None:
    match = re.search(r"\*Image name\* \(exact, any author\): `([^`]+)`", LABEL_RULES.read_text())
    assert match is not None
    names = match[1].split()
    assert "postgres" in names
    for name in names:
        summary = {"Id": name, "Names": [f"/{name}"], "Image": f"{name}:1", "State": "running"}
        assert is_blacklisted(from_docker(summary, DockerProviderConfig("unix:///engine.sock"))), name


def test_the_table_of_variables_lists_all_of_them() -> None:
    assert sorted(cell.strip("`") for cell in rows(MIDDLEWARES, "variable")) == sorted(f"${it}" for it in VARIABLES)
    assert f"at most {MAX_VARIABLES} variables" in MIDDLEWARES.read_text()
