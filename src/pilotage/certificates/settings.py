"""Defines the settings of automatic certificates. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = [
    "INSTALL",
    "LETS_ENCRYPT",
    "Authority",
    "AutocertSettings",
    "DnsSettings",
    "Entry",
    "KeyType",
    "Method",
]

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
"""The CA that GoDoxy uses if ``ca_dir_url`` is not set."""

INSTALL: Final = "pip install 'pilotage[gateway,certificates]'"
"""The command that installs the packages for automatic certificates."""

Method = Literal["http-01", "tls-alpn-01", "dns-01", "internal"]
KeyType = Literal["ec256", "ec384", "rsa2048", "rsa3072", "rsa4096", "rsa8192"]


class DnsSettings(msgspec.Struct, frozen=True):
    """How to set the records of DNS-01 challenges. The ``repr`` hides the options, which are credentials.

    Attributes:
        provider: the provider's name in the configuration, such as ``cloudflare``.
        lexicon: the name of the provider in the package ``dns-lexicon``.
        options: lexicon's option -> value.
        resolvers: recursive name servers, ``host`` or ``host:port``; empty for the system's.
        propagation_seconds: how long a record may take to reach all authoritative servers.
        poll_seconds: pause between two checks of the authoritative servers.
        ttl: time to live of the records, in seconds; 0 for the provider's minimum.

    """

    provider: str
    lexicon: str
    options: tuple[tuple[str, str], ...] = ()
    resolvers: tuple[str, ...] = ()
    propagation_seconds: float = 600.0
    poll_seconds: float = 5.0
    ttl: int = 0

    def __repr__(self) -> str:
        return f"DnsSettings({self.provider!r}, <hidden>)"


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """A CA and our account with it. The ``repr`` hides the secret.

    Attributes:
        directory: URL of the CA's ACME directory.
        email: contact of the account; ``""`` for none.
        ca_certs: PEM files with further CAs to trust when connecting to the CA itself.
        eab_kid, eab_hmac: external account binding; ``""`` if the CA needs none. The HMAC key is base64url.
        account_key: path of an account key to take over, and to write if the configuration names it.
        keep_account_key: whether the configuration names the path of the account key.
        profile: the CA's certificate profile, such as ``shortlived``; ``""`` for the CA's default.

    """

    directory: str = LETS_ENCRYPT
    email: str = ""
    ca_certs: tuple[str, ...] = ()
    eab_kid: str = ""
    eab_hmac: str = ""
    account_key: str = ""
    keep_account_key: bool = False
    profile: str = ""

    def __repr__(self) -> str:
        return f"Authority({self.directory!r}, {self.email!r}, <hidden>)"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One section of ``autocert``: the main section, or an entry in ``extra``.

    Attributes:
        name: ``main`` or ``extra[N]``, or ``internal`` for ``gateway.tls``.
        method: how the CA validates names; ``internal`` for our own CA.
        auto: whether certificates are for the host names of the routes.
        private: whether the CA may issue certificates for local names, such as ``nas.lan``.
        domains: the names of the entry's only certificate; empty if ``auto`` is true.
        authorities: the CAs, the preferred one first; empty for ``internal``.
        dns: how to set DNS records; ``None`` unless ``method`` is ``dns-01``.
        key_type: type of the certificates' private keys.
        cert_path, key_path: files to take over a certificate from; ``""`` for none.
        keep_files: whether the configuration names these files, so that each new certificate is written there, too.

    """

    name: str = "main"
    method: Method = "http-01"
    auto: bool = False
    private: bool = False
    domains: tuple[str, ...] = ()
    authorities: tuple[Authority, ...] = ()
    dns: DnsSettings | None = None
    key_type: KeyType = "ec256"
    cert_path: str = ""
    key_path: str = ""
    keep_files: bool = False


class AutocertSettings(msgspec.Struct, frozen=True):
    """The settings of the section ``autocert``.

    Attributes:
        entries: the sections, the main one first; empty if no certificate is to be obtained.
        match_domains: the operator's own domains, under which aliases are served.
        folder: where certificates and account keys are kept; ``""`` for the default.

    """

    entries: tuple[Entry, ...] = ()
    match_domains: tuple[str, ...] = ()
    folder: str = ""
