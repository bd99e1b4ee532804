from __future__ import annotations

import sys

import pytest
from lexicon.config import ConfigResolver

from pilotage.certificates.providers import OptionError, known_providers, read_dns_options

EXAMPLES = {
    "azuredns": dict.fromkeys(("client_id", "client_secret", "tenant_id", "subscription_id", "resource_group"), "x"),
    "cloudflare": {"auth_token": "x"},
    "cloudns": {"auth_id": "1", "auth_password": "x"},
    "desec": {"token": "x"},
    "digitalocean": {"auth_token": "x"},
    "dnsupdate": {"nameserver": "192.0.2.1", "tsig_key": "k", "tsig_secret": "c2VjcmV0"},
    "duckdns": {"token": "x"},
    "gandiv5": {"personal_access_token": "x"},
    "godaddy": {"api_key": "x", "api_secret": "y"},
    "hetzner": {"api_token": "x"},
    "infomaniak": {"access_token": "x"},
    "inwx": {"username": "x", "password": "y"},
    "ionos": {"api_key": "x.y"},
    "linode": {"token": "x"},
    "namecheap": {"api_user": "x", "api_key": "y", "client_ip": "192.0.2.1"},
    "netcup": {"customer": "1", "key": "x", "password": "y"},
    "ovh": {"api_endpoint": "ovh-eu", "application_key": "a", "application_secret": "b", "consumer_key": "c"},
    "porkbun": {"api_key": "x", "secret_api_key": "y"},
    "rfc2136": {"nameserver": "192.0.2.1", "tsig_key": "k", "tsig_secret": "c2VjcmV0"},
    "route53": {"access_key_id": "x", "secret_access_key": "y"},
    "scaleway": {"secret_key": "x", "access_key": "y", "project_id": "z"},
    "timewebcloud": {"auth_token": "x"},
    "vercel": {"auth_token": "x"},
    "vultr": {"api_key": "x"},
}
NEEDS_MORE_PACKAGES = {"route53"}  # boto3


def test_each_provider_in_the_table_has_an_example() -> None:
    assert set(EXAMPLES) == set(known_providers())
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize("provider", sorted(set(EXAMPLES) - NEEDS_MORE_PACKAGES))
def test_lexicon_accepts_the_options_that_they_become(provider: str) -> None:
    import importlib

    found = read_dns_options(provider, EXAMPLES[provider])
    module = importlib.import_module(f"lexicon._private.providers.{found.lexicon}")
    import argparse

    parser = argparse.ArgumentParser()
    module.Provider.configure_parser(parser)
    assert {name for name, _ in found.options} <= {action.dest for action in parser._actions}
    values = {"provider_name": found.lexicon, "domain": "example.com", found.lexicon: dict(found.options)}
    module.Provider(ConfigResolver().with_dict(values))


def test_names_are_compared_as_godoxy_compares_them() -> None:
    assert read_dns_options("cloudflare", {"AuthToken": "x"}).options == (("auth_token", "x"),)
    found = read_dns_options("cloudflare", {"auth_token": "x", "zone_id": "z"})  # lexicon's own option
    assert found.options == (("auth_token", "x"), ("zone_id", "z"))
    assert read_dns_options("cloudflare", {"auth_email": "a", "auth_key": "b"}).options == (
        ("auth_token", "b"),
        ("auth_username", "a"),
    )


def test_common_options_are_ours() -> None:
    found = read_dns_options(
        "desec", {"token": "x", "propagation_timeout": "5m", "polling_interval": "2s", "ttl": "60"}
    )
    assert (found.propagation_seconds, found.poll_seconds, found.ttl) == (300, 2, 60)


def test_a_provider_that_only_lexicon_knows_has_lexicons_options() -> None:
    assert read_dns_options("powerdns", {"auth_token": "x", "pdns_server": "http://192.0.2.1"}).lexicon == "powerdns"
    assert read_dns_options("gcloud", {"auth_service_account_info": "x"}).lexicon == "googleclouddns"


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        ("cloudflare", {}, "cloudflare needs the options auth_token or auth_email, auth_key"),
        ("cloudflare", {"auth_token": ""}, "cloudflare needs the options"),
        ("cloudflare", {"auth_tokn": "x"}, "cloudflare has no option 'auth_tokn'; did you mean 'auth_token'?"),
        (
            "cloudflare",
            {"auth_token": "x", "zone_token": "y"},
            "zone_token of cloudflare is not supported; set zone_id",
        ),
        ("inwx", {"username": "a", "password": "b", "shared_secret": "c"}, "without two-factor authentication"),
        ("ovh", {"api_endpoint": "ovh-eu", "oauth2_config": ""}, "create an application key"),
        ("route53", {**EXAMPLES["route53"], "session_token": "x"}, "use the permanent keys"),
        ("desec", {"token": "x", "ttl": "soon"}, "ttl: "),
        ("desec", {"token": "x", "ttl": "48h"}, "ttl is out of range"),
        ("rfc2136", {"nameserver": "192.0.2.1"}, "rfc2136 needs the option tsig_key"),
        ("rfc2136", {"tsig_gss_realm": "x"}, "rfc2136 has no option 'tsig_gss_realm'"),
        ("rfc2136", {**EXAMPLES["rfc2136"], "nameserver": "ns.example.com:5353"}, "must be an IP address"),
        ("netlify", {"token": "x"}, "dns-lexicon does not know it"),
        ("powerdns", {}, "powerdns needs options"),
        ("powerdns", {"pdns_servr": "x"}, "did you mean 'pdns_server'?"),
        ("../os", {}, "is not a known provider"),
        ("nosuchprovider", {}, "'nosuchprovider' is not a known provider"),
    ],
)
def test_errors_name_the_right_options(provider: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_dns_options(provider, options)
    assert message in str(caught.value)


def test_without_lexicon_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "lexicon"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lexicon", None)
    read_dns_options("cloudflare", {"auth_token": "x"})  # needs no lexicon yet
    with pytest.raises(OptionError, match=r"pip install 'pilotage\[gateway,certificates\]'"):
        read_dns_options("powerdns", {"auth_token": "x"})
