from __future__ import annotations

from pathlib import Path

import pytest

from pilotage.certificates.settings import AutocertSettings, Entry
from pilotage.config.load import Config, read_config
from pilotage.core.errors import ConfigError
from pilotage.xds.options import CertificateFiles

OWN = Entry(name="internal", method="internal", auto=True, private=True)


def read(text: str, folder: Path = Path("/nowhere")) -> Config:
    return read_config(text, file="pilotage.yml", folder=folder, env={})


@pytest.mark.parametrize("written", ["internal", "Internal", "[internal]"])
def test_internal_gives_every_other_host_a_certificate_of_our_own_ca(written: str) -> None:
    config = read(f"match_domains: [home.lan]\ngateway: {{tls: {written}, redirect_to_https: true}}\n")
    assert config.autocert == AutocertSettings((OWN,), ("home.lan",))
    assert (config.options.https_port, config.options.serves_https, config.problems) == (8443, True, ())


def test_internal_comes_after_files_and_autocert(tmp_path: Path) -> None:
    for name in ("a.pem", "a-key.pem"):
        (tmp_path / name).touch()
    text = """\
gateway:
  tls: [internal, {cert_file: a.pem, key_file: a-key.pem, default: true}]
autocert: {provider: http-01, domains: auto}
"""
    config = read(text, tmp_path)
    assert [entry.name for entry in config.autocert.entries] == ["main", "internal"]
    files = CertificateFiles(f"{tmp_path}/a.pem", f"{tmp_path}/a-key.pem", default=True)
    assert config.options.certificates == (files,)
    single = read("gateway: {tls: {cert_file: a.pem, key_file: a-key.pem}}", tmp_path)
    assert len(single.options.certificates) == 1
    assert single.autocert == AutocertSettings()


@pytest.mark.parametrize(
    ("text", "message", "hint", "path"),
    [
        (
            "gateway: {tls: interal}",
            "'interal' is not a certificate",
            "write internal for certificates of pilotage's own CA",
            "gateway.tls",
        ),
        ("gateway: {tls: [internal, {cert_file: ''}]}", "key_file is missing", "add it", "gateway.tls[1].key_file"),
        ("tls: internal", "unknown key 'tls'", "write it under gateway", "tls"),
        ("gateway: {tls: 5}", "tls must be a list, not a number", "", "gateway.tls"),
    ],
)
def test_mistakes_say_what_to_write(text: str, message: str, hint: str, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    (problem,) = error.value.problems
    assert message in problem.message
    assert problem.hint.startswith(hint)
    assert problem.path == path
