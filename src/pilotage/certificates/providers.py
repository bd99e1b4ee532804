"""Translates the options of DNS providers from GoDoxy's names, which are lego's, to those of ``dns-lexicon``.

``dns-lexicon`` itself is only imported for providers that are not in the table, to learn their options.
"""

from __future__ import annotations

import argparse
import importlib
import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.certificates.settings import INSTALL, DnsSettings
from pilotage.core.secrets import fold
from pilotage.core.suggest import did_you_mean
from pilotage.core.values import ParseError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OptionError", "known_providers", "read_dns_options"]


class OptionError(ValueError):
    """An option of a provider cannot be used.

    Attributes:
        option: name of the option in the configuration; ``""`` if the error concerns the provider.
        message: the problem, one sentence without a full stop.
        hint: how to fix it.

    """

    def __init__(self, option: str, message: str, hint: str) -> None:
        self.option, self.message, self.hint = option, message, hint
        super().__init__(f"{message}; {hint}")


class _Provider(msgspec.Struct, frozen=True):
    """A provider in the table.

    Attributes:
        lexicon: the provider's name in lexicon.
        options: lego's name of an option -> lexicon's name of this option.
        needs: the alternatives of options that must be set, by lego's names.
        unused: lego's option that lexicon does not need -> the reason.
        unsupported: lego's option that cannot be passed on although it has an effect -> what to do instead.

    """

    lexicon: str
    options: dict[str, str]
    needs: tuple[tuple[str, ...], ...]
    unused: dict[str, str] = {}
    unsupported: dict[str, str] = {}


_TOKEN: Final = (("auth_token",),)

_PROVIDERS: Final[dict[str, _Provider]] = {
    "azuredns": _Provider(
        "azure",
        {
            "client_id": "auth_client_id",
            "client_secret": "auth_client_secret",  # the name of an option
            "tenant_id": "auth_tenant_id",
            "subscription_id": "auth_subscription_id",
            "resource_group": "resource_group",
        },
        (("client_id", "client_secret", "tenant_id", "subscription_id", "resource_group"),),
    ),
    "cloudflare": _Provider(
        "cloudflare",
        {"auth_token": "auth_token", "auth_email": "auth_username", "auth_key": "auth_token"},
        (("auth_token",), ("auth_email", "auth_key")),
        unsupported={"zone_token": "set zone_id instead, or use a token that may also read zones"},
    ),
    "cloudns": _Provider(
        "cloudns",
        {"auth_id": "auth_id", "sub_auth_id": "auth_subid", "auth_password": "auth_password"},
        (("auth_id", "auth_password"), ("sub_auth_id", "auth_password")),
    ),
    "desec": _Provider("desec", {"token": "auth_token"}, (("token",),)),
    "digitalocean": _Provider("digitalocean", {"auth_token": "auth_token"}, _TOKEN),
    "duckdns": _Provider("duckdns", {"token": "auth_token"}, (("token",),)),
    "gandiv5": _Provider(
        "gandi",
        {"personal_access_token": "auth_token", "api_key": "auth_token"},
        (("personal_access_token",), ("api_key",)),
    ),
    "godaddy": _Provider(
        "godaddy",
        {"api_key": "auth_key", "api_secret": "auth_secret"},
        (("api_key", "api_secret"),),
    ),
    "hetzner": _Provider(
        "hetzner", {"api_token": "auth_token", "api_key": "auth_token"}, (("api_token",), ("api_key",))
    ),
    "infomaniak": _Provider("infomaniak", {"access_token": "auth_token"}, (("access_token",),)),
    "inwx": _Provider(
        "inwx",
        {"username": "auth_username", "password": "auth_password"},
        (("username", "password"),),
        unsupported={
            "shared_secret": "use an account without two-factor authentication",
            "sandbox": "remove it; the sandbox is not supported",
        },
    ),
    "ionos": _Provider("ionos", {"api_key": "api_key"}, (("api_key",),)),
    "linode": _Provider("linode4", {"token": "auth_token"}, (("token",),)),
    "namecheap": _Provider(
        "namecheap",
        {"api_user": "auth_username", "api_key": "auth_token", "client_ip": "auth_client_ip"},
        (("api_user", "api_key", "client_ip"),),
    ),
    "netcup": _Provider(
        "netcup",
        {"customer": "auth_customer_id", "key": "auth_api_key", "password": "auth_api_password"},
        (("customer", "key", "password"),),
    ),
    "ovh": _Provider(
        "ovh",
        {
            "api_endpoint": "auth_entrypoint",
            "application_key": "auth_application_key",
            "application_secret": "auth_application_secret",
            "consumer_key": "auth_consumer_key",
        },
        (("api_endpoint", "application_key", "application_secret", "consumer_key"),),
        unsupported={
            "oauth2_config": "create an application key, an application secret and a consumer key instead",
            "access_token": "create an application key, an application secret and a consumer key instead",
        },
    ),
    "porkbun": _Provider(
        "porkbun",
        {"api_key": "auth_key", "secret_api_key": "auth_secret"},
        (("api_key", "secret_api_key"),),
    ),
    "route53": _Provider(
        "route53",
        {"access_key_id": "auth_access_key", "secret_access_key": "auth_access_secret", "hosted_zone_id": "zone_id"},
        (("access_key_id", "secret_access_key"),),
        unused={
            "region": "Route 53 has no regions",
            "max_retries": "pilotage tries again by itself",
            "wait_for_record_sets_changed": "pilotage asks the name servers",
        },
        unsupported={
            "session_token": "use the permanent keys of a user that may edit the zone",
            "assume_role_arn": "use the keys of a user that may edit the zone",
            "external_id": "use the keys of a user that may edit the zone",
        },
    ),
    "scaleway": _Provider(
        "scaleway",
        {"secret_key": "auth_secret_key"},
        (("secret_key",),),
        unused={"access_key": "Scaleway's DNS API needs only secret_key", "project_id": "zones are found by name"},
    ),
    "timewebcloud": _Provider("timeweb", {"auth_token": "auth_token"}, _TOKEN),
    "vercel": _Provider(
        "vercel",
        {"auth_token": "auth_token"},
        _TOKEN,
        unsupported={"team_id": "use a token of the account that owns the domain"},
    ),
    "vultr": _Provider("vultr", {"api_key": "auth_token"}, (("api_key",),)),
}

_RFC2136: Final = ("dnsupdate", "rfc2136")
_RFC2136_OPTIONS: Final = ("nameserver", "tsig_algorithm", "tsig_key", "tsig_secret")

_UNKNOWN_TO_LEXICON: Final = (*("acmedns", "clouddns", "edgedns", "hostinger", "httpreq", "netlify", "spaceship"),)
"""Providers of GoDoxy that lexicon does not have."""

_COMMON: Final = ("propagation_timeout", "polling_interval", "ttl")
_OTHER_NAMES: Final = {"gcloud": "googleclouddns", "oraclecloud": "oci"}


def known_providers() -> tuple[str, ...]:
    """Return the names of all DNS providers, as the configuration spells them, without those that need lexicon."""
    return (*sorted(_PROVIDERS), *_RFC2136)


def read_dns_options(provider: str, options: Mapping[str, str], resolvers: tuple[str, ...] = ()) -> DnsSettings:
    """Return how to set records at a provider.

    Args:
        provider: the provider's name, as GoDoxy or lexicon spells it.
        options: names and values, as GoDoxy or lexicon spells them; upper case and underscores do not matter.
        resolvers: recursive name servers.

    Raises:
        OptionError: the provider or an option is unknown, or a required option is missing.

    """
    given = {fold(name): (name, value) for name, value in options.items()}
    common = {name: given.pop(fold(name)) for name in _COMMON if fold(name) in given}
    settings = DnsSettings(
        provider,
        "",
        resolvers=resolvers,
        propagation_seconds=_seconds(common.get("propagation_timeout"), 600.0),
        poll_seconds=_seconds(common.get("polling_interval"), 5.0),
        ttl=int(_seconds(common.get("ttl"), 0.0)),
    )
    if provider in _RFC2136:
        return msgspec.structs.replace(settings, lexicon="ddns", options=_rfc2136(given))
    known = _PROVIDERS.get(provider)
    if known is None:
        return _lexicon_provider(settings, given)
    native = _native_options(known.lexicon) if _has_unknown(known, given) else {}
    names = {fold(name): target for name, target in known.options.items()}
    found: dict[str, str] = {}
    for folded, (name, value) in given.items():
        for ours, advice in known.unsupported.items():
            if fold(ours) == folded:
                raise OptionError(name, f"the option {name} of {provider} is not supported", advice)
        if folded in map(fold, known.unused):
            continue
        target = names.get(folded) or native.get(folded)
        if target is None:
            raise _unknown(provider, name, (*known.options, *_COMMON))
        found[target] = value
    if not any(all(found.get(known.options[name]) for name in group) for group in known.needs):
        wanted = " or ".join(", ".join(group) for group in known.needs)
        raise OptionError("", f"{provider} needs the options {wanted}", "add them below autocert.options")
    return msgspec.structs.replace(settings, lexicon=known.lexicon, options=tuple(sorted(found.items())))


def _has_unknown(provider: _Provider, given: Mapping[str, object]) -> bool:
    return bool(set(given) - {fold(name) for name in (*provider.options, *provider.unused, *provider.unsupported)})


def _unknown(provider: str, name: str, names: tuple[str, ...]) -> OptionError:
    hint = did_you_mean(name, names) or f"the options are {', '.join(names)}"
    return OptionError(name, f"{provider} has no option {name!r}", hint)


def _seconds(option: tuple[str, str] | None, default: float) -> float:
    if option is None:
        return default
    name, value = option
    try:
        seconds = parse_duration(value)
    except ParseError as error:
        raise OptionError(name, f"{name}: {error}", "write a duration such as 2m") from error
    if not 0 < seconds <= 86_400:
        raise OptionError(name, f"{name} is out of range", "write a duration from 1s to 24h")
    return seconds


def _rfc2136(given: Mapping[str, tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return lexicon's options for dynamic updates (RFC 2136) signed with TSIG."""
    names = {fold(name): name for name in _RFC2136_OPTIONS}
    for folded, (name, _) in given.items():
        if folded not in names:
            raise _unknown("rfc2136", name, _RFC2136_OPTIONS)
    values = {names[folded]: value for folded, (_, value) in given.items()}
    missing = [name for name in ("nameserver", "tsig_key", "tsig_secret") if not values.get(name)]
    if missing:
        message = f"rfc2136 needs the option {missing[0]}"
        raise OptionError("", message, f"the options are {', '.join(_RFC2136_OPTIONS)}")
    algorithm = values.get("tsig_algorithm", "hmac-sha256.").rstrip(".").lower()
    host, _, port = values["nameserver"].partition(":")
    if port not in {"", "53"} or not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]+", host):
        raise OptionError("nameserver", "nameserver must be an IP address; lexicon uses port 53", "write 192.0.2.1")
    return (("auth_token", f"{algorithm}:{values['tsig_key']}:{values['tsig_secret']}"), ("ddns_server", host))


def _lexicon_provider(settings: DnsSettings, given: Mapping[str, tuple[str, str]]) -> DnsSettings:
    """Return the settings for a provider that only lexicon knows, with lexicon's own option names."""
    name = _OTHER_NAMES.get(settings.provider, settings.provider)
    if settings.provider in _UNKNOWN_TO_LEXICON or not re.fullmatch(r"[a-z][a-z0-9]{1,30}", name):
        raise _no_provider(settings.provider)
    native = _native_options(name)
    found = {}
    for folded, (option, value) in given.items():
        if folded not in native:
            raise _unknown(settings.provider, option, tuple(native.values()))
        found[native[folded]] = value
    if not found:
        wanted = ", ".join(native.values())
        raise OptionError("", f"{settings.provider} needs options", f"the options are {wanted}")
    return msgspec.structs.replace(settings, lexicon=name, options=tuple(sorted(found.items())))


def _no_provider(provider: str) -> OptionError:
    names = (*known_providers(), "local", "internal", "custom", "http-01", "tls-alpn-01")
    if provider in _UNKNOWN_TO_LEXICON:
        hint = (
            "use http-01 or tls-alpn-01, which need no DNS provider, or point _acme-challenge to another provider with "
            "a CNAME record"
        )
        return OptionError(
            "", f"pilotage cannot set DNS records at {provider}, because dns-lexicon does not know it", hint
        )
    hint = did_you_mean(provider, names) or f"use one of {', '.join(names)}, or another provider of dns-lexicon"
    return OptionError("", f"{provider!r} is not a known provider", hint)


def _native_options(lexicon: str) -> dict[str, str]:
    """Return folded name -> name of lexicon's own options for a provider.

    Raises:
        OptionError: lexicon does not know the provider, or is not installed.

    """
    try:
        # lexicon's list of options is only in its providers' argument parsers, which have no public name.
        module = importlib.import_module(f"lexicon._private.providers.{lexicon}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "lexicon" and error.name != f"lexicon._private.providers.{lexicon}":
            raise OptionError("", "DNS challenges need further Python packages", f"run: {INSTALL}") from error
        if error.name and not error.name.startswith("lexicon"):
            message = f"lexicon's provider {lexicon} needs the Python package {error.name}"
            raise OptionError("", message, f"run: pip install 'dns-lexicon[{lexicon}]'") from error
        raise _no_provider(lexicon) from error
    parser = argparse.ArgumentParser(add_help=False)
    module.Provider.configure_parser(parser)
    return {fold(action.dest): action.dest for action in parser._actions}  # noqa: SLF001  # argparse offers no list
