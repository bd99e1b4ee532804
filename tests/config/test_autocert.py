from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.settings import LETS_ENCRYPT, AutocertSettings
from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError

if TYPE_CHECKING:
    from pilotage.config.load import Config

CLOUDFLARE = """\
autocert:
  provider: cloudflare
  email: admin@example.com
  domains: ["*.example.com", example.com]
  options:
    auth_token: ${CF_API_TOKEN}
"""


def config(text: str, folder: Path | str = "/nowhere", **env: str) -> Config:
    return read_config(text, file="pilotage.yml", folder=Path(folder), env=env)


def read(text: str, folder: Path | str = "/nowhere", **env: str) -> AutocertSettings:
    return config(text, folder, **env).autocert


def test_an_example_of_godoxy_is_read() -> None:
    settings = read(CLOUDFLARE, CF_API_TOKEN="secret")
    (entry,) = settings.entries
    assert (entry.method, entry.auto, entry.domains) == ("dns-01", False, ("*.example.com", "example.com"))
    assert entry.dns is not None
    assert (entry.dns.lexicon, entry.dns.options) == ("cloudflare", (("auth_token", "secret"),))
    (authority,) = entry.authorities
    assert (authority.directory, authority.email) == (LETS_ENCRYPT, "admin@example.com")
    assert entry.cert_path == "/nowhere/certs/cert.crt"
    assert authority.account_key == "/nowhere/certs/acme.key"
    assert not entry.keep_files


def test_documented_options_of_godoxy_are_read_or_explained() -> None:
    text = """\
autocert:
  provider: route53
  domains: ["*.example.com"]
  options: {accesskeyid: id, secretaccesskey: secret, region: us-east-1, hostedzoneid: zone}
"""
    dns = read(text).entries[0].dns
    assert dns is not None
    assert dict(dns.options) == {"auth_access_key": "id", "auth_access_secret": "secret", "zone_id": "zone"}
    options = "{api_endpoint: ovh-eu, oauth2_config: {client_id: id, client_secret: canary}}"
    with pytest.raises(ConfigError, match="oauth2_config of ovh is not supported; create an application key") as caught:
        read(f"autocert: {{provider: ovh, domains: [example.com], options: {options}}}")
    assert "canary" not in str(caught.value)


def test_new_files_are_where_godoxy_looks_for_them(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "certs").mkdir()
    text = CLOUDFLARE + "  cert_path: certs/new.crt\n  key_path: certs/new.key\n"
    (entry,) = read(text, tmp_path / "config", CF_API_TOKEN="secret").entries
    assert Path(entry.cert_path).resolve() == tmp_path / "certs" / "new.crt"
    (tmp_path / "config" / "certs").mkdir()
    (entry,) = read(text, tmp_path / "config", CF_API_TOKEN="secret").entries
    assert Path(entry.key_path) == tmp_path / "config" / "certs" / "new.key"


def test_https_is_on_without_other_certificates() -> None:
    options = config(CLOUDFLARE, CF_API_TOKEN="secret").options
    assert options.automatic_certificates
    assert options.serves_https
    assert (
        config(f"{CLOUDFLARE}gateway: {{https: 443, redirect_to_https: true}}", CF_API_TOKEN="x").options.https_port
        == 443
    )
    assert not config("{}").options.serves_https
    assert config("{}").autocert == AutocertSettings()


def test_files_of_a_local_provider_are_the_default_certificate(tmp_path: Path) -> None:
    for name in ("cert.crt", "priv.key", "other.crt", "other.key"):
        (tmp_path / "certs").mkdir(exist_ok=True)
        (tmp_path / "certs" / name).write_text("")
    text = "autocert: {provider: local, extra: [{cert_path: certs/other.crt, key_path: certs/other.key}]}"
    (tmp_path / "config").mkdir()
    for folder in (tmp_path, tmp_path / "config"):  # GoDoxy's certificates are next to the folder of its configuration
        found = config(text, folder)
        assert found.autocert == AutocertSettings()
        assert [(Path(it.certificate).name, it.default) for it in found.options.certificates] == [
            ("cert.crt", True),
            ("other.crt", False),
        ]


def test_further_sections_take_over_what_they_leave_out() -> None:
    text = (
        f"{CLOUDFLARE}  extra:\n  - {{domains: [api.example.org], cert_path: certs/api.crt, key_path: certs/api.key}}\n"
    )
    main, extra = read(text, CF_API_TOKEN="secret").entries
    assert (extra.name, extra.domains, extra.dns, extra.authorities) == (
        "extra[0]",
        ("api.example.org",),
        main.dns,
        main.authorities,
    )
    assert (extra.cert_path, extra.keep_files) == ("/nowhere/certs/api.crt", True)


def test_a_section_for_the_same_names_at_another_ca_is_the_second_choice() -> None:
    text = (
        "autocert: {provider: http-01, email: a@example.com, domains: [a.example.com], extra: ["
        "{ca_dir_url: https://acme.zerossl.com/v2/DV90, eab_kid: kid, eab_hmac: c2VjcmV0}]}"
    )
    (entry,) = read(text).entries
    assert [authority.directory for authority in entry.authorities] == [
        LETS_ENCRYPT,
        "https://acme.zerossl.com/v2/DV90",
    ]
    assert entry.authorities[1].email == "a@example.com"


def test_domains_auto_and_our_own_ca() -> None:
    (entry,) = read("autocert: {provider: internal, domains: auto, folder: certs}").entries
    assert (entry.method, entry.auto, entry.private, entry.authorities) == ("internal", True, True, ())
    assert read("autocert: {provider: internal, domains: auto, folder: certs}").folder == "/nowhere/certs"


def test_local_names_are_for_private_cas() -> None:
    (entry,) = read(
        "autocert: {provider: custom, ca_dir_url: https://ca.lan/acme/directory, domains: [nas.lan]}"
    ).entries
    assert (entry.method, entry.domains, entry.private) == ("http-01", ("nas.lan",), True)


def test_secrets_come_from_files_and_credentials(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    text = CLOUDFLARE.replace("auth_token: ${CF_API_TOKEN}", f"auth_token_file: {tmp_path}/token")
    for found in (
        read(text),
        read(CLOUDFLARE, CF_API_TOKEN_FILE=str(tmp_path / "token")),
        read(CLOUDFLARE.replace("CF_API_TOKEN", "TOKEN"), CREDENTIALS_DIRECTORY=str(tmp_path)),
    ):
        assert found.entries[0].dns is not None
        assert found.entries[0].dns.options == (("auth_token", "secret"),)
    eab = "autocert: {provider: http-01, domains: auto, eab_kid: k, eab_hmac_file: token}"
    assert read(eab, tmp_path).entries[0].authorities[0].eab_hmac == "secret"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{provider: clodflare, domains: auto}",
            "autocert.provider: 'clodflare' is not a known provider; did you mean 'cloudflare'",
        ),
        ("{provider: hostinger, domains: auto}", "dns-lexicon does not know it; use http-01"),
        ("{provider: pseudo, domains: auto}", "it exists only for tests of GoDoxy; use internal"),
        ("{provider: http-01}", "autocert.domains: domains is missing; list names, or write `domains: auto`"),
        (
            "{provider: http-01, domains: ['*.example.com']}",
            "autocert.domains[0]: '*.example.com' needs a DNS challenge",
        ),
        (
            "{provider: http-01, domains: [nas.lan]}",
            "'nas.lan': it is a local name; remove it, or use provider internal",
        ),
        ("{provider: http-01, domains: [auto, a.com]}", "auto cannot be combined with other domains"),
        ("{provider: http-01, domains: auto, email: me}", "autocert.email: 'me' is not an e-mail address"),
        ("{provider: http-01, domains: auto, options: {a: b}}", "options has no effect with provider http-01"),
        ("{provider: http-01, domains: auto, cert_path: a.crt}", "cert_path has no effect with domains: auto"),
        ("{provider: http-01, domains: auto, ca_dir_url: 'http://ca'}", "'http://ca' is not an https URL"),
        ("{provider: http-01, domains: auto, ca_certs: [none.pem]}", "/nowhere/none.pem does not exist"),
        ("{provider: http-01, domains: auto, eab_kid: k}", "eab_hmac is missing; set both"),
        ("{provider: http-01, domains: auto, eab_kid: k, eab_hmac: 'no base'}", "eab_hmac is not base64url"),
        ("{provider: http-01, domains: auto, certificate_key_type: DSA}", "'DSA' is not a key type; use EC256"),
        ("{provider: custom, domains: auto}", "provider custom needs ca_dir_url"),
        ("{provider: internal, domains: auto, profile: shortlived}", "profile has no effect with provider internal"),
        ("{provider: cloudflare, domains: auto}", "cloudflare needs the options auth_token or auth_email, auth_key"),
        (
            "{provider: cloudflare, domains: auto, options: {auth_tokn: canary}}",
            "no option 'auth_tokn'; did you mean 'auth_token'",
        ),
        ("{provider: local}", "/nowhere/certs/cert.crt does not exist; correct the name, or choose another provider"),
        ("{provder: http-01}", "unknown key 'provder'; did you mean 'provider'?"),
        (
            "{provider: http-01, domains: [a.com], cert_path: x, extra: [{domains: [b.com], cert_path: x}]}",
            "autocert.extra[0].cert_path: x is also the file of autocert (main) cert_path",
        ),
    ],
)
def test_errors_say_what_is_wrong_and_no_secret(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(f"autocert: {text}")
    shown = "\n".join(map(str, caught.value.problems))
    assert message in shown
    assert "canary" not in shown + "".join(problem.value for problem in caught.value.problems)


def test_a_missing_secret_is_one_error_that_names_the_variable() -> None:
    with pytest.raises(ConfigError) as caught:
        config(CLOUDFLARE)
    assert [problem.message for problem in caught.value.problems] == [
        "the environment variable CF_API_TOKEN is not set"
    ]
