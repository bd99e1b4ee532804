"""Reads the section ``autocert``, as GoDoxy writes it: which certificates to obtain, and how. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlsplit

import msgspec

from pilotage.certificates.plan import why_not_public
from pilotage.certificates.providers import OptionError, read_dns_options
from pilotage.certificates.settings import LETS_ENCRYPT, Authority, AutocertSettings, DnsSettings, Entry
from pilotage.config.autocert_section import Autocert, AutocertEntry, AutocertSection
from pilotage.config.secret_files import Unset, secret_in_file
from pilotage.config.tls_section import INTERNAL
from pilotage.core.hostnames import ascii_host
from pilotage.core.secrets import fold
from pilotage.core.text import shorten
from pilotage.xds.options import CertificateFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pilotage.certificates.settings import KeyType, Method
    from pilotage.config.substitute import Path as DocumentPath

    class AddProblem(Protocol):
        """Reports an error at a document path. With ``at_key``, the value is not shown, because it can be a secret."""

        def __call__(self, path: DocumentPath, message: str, hint: str = "", *, at_key: bool = False) -> None: ...


__all__ = ["read_autocert"]

CERT_PATH: Final = "certs/cert.crt"
KEY_PATH: Final = "certs/priv.key"
"""GoDoxy's default files, relative to its working directory."""

_PUBLIC: Final = (
    *("letsencrypt.org", "zerossl.com", "pki.goog", "ssl.com", "buypass.com", "digicert.com", "sectigo.com"),
    *("globalsign.com", "actalis.com", "googleapis.com"),
)
"""Domains of public CAs, which issue no certificates for local names."""

_KEY_TYPES: Final = {
    "ec256": "ec256",
    "p256": "ec256",
    "ec384": "ec384",
    "p384": "ec384",
    **{f"rsa{bits}": f"rsa{bits}" for bits in (2048, 3072, 4096, 8192)},
    **{f"{bits}": f"rsa{bits}" for bits in (2048, 3072, 4096, 8192)},
}
_OF_ACCOUNT: Final = frozenset({"eab_kid", "eab_hmac", "eab_hmac_file", "acme_key_path", "profile"})
_WITHOUT_DNS: Final = {"http-01": "http-01", "tls-alpn-01": "tls-alpn-01", "custom": "http-01", "internal": "internal"}


def read_autocert(
    section: AutocertSection | None,
    match_domains: tuple[str, ...],
    path: Callable[[str], Path],
    add_problem: AddProblem,
    *,
    own_ca: bool = False,
) -> Autocert:
    """Return the settings of the section.

    Args:
        section: the section; ``None`` if there is none.
        match_domains: the operator's own domains.
        path: takes a file name and returns its path, relative to the configuration file's folder.
        add_problem: reports an error.
        own_ca: whether pilotage's own CA issues certificates for the other host names of routes.

    """
    none = Autocert(AutocertSettings(match_domains=match_domains))
    found = _Reader(match_domains, path, add_problem).read(section) if section is not None else none
    if not own_ca:
        return found
    entries = (*found.settings.entries, INTERNAL)
    return msgspec.structs.replace(found, settings=msgspec.structs.replace(found.settings, entries=entries))


class _Reader:
    def __init__(self, match_domains: tuple[str, ...], path: Callable[[str], Path], add_problem: AddProblem) -> None:
        self._match_domains = match_domains
        self._path = path
        self._add_problem = add_problem

    def read(self, section: AutocertSection) -> Autocert:
        entries: list[Entry] = []
        files: list[CertificateFiles] = []
        parts: list[tuple[str, DocumentPath, AutocertEntry]] = [("main", ("autocert",), section)]
        for number, extra in enumerate(section.extra):
            place: DocumentPath = ("autocert", "extra", number)
            parts.append((f"extra[{number}]", place, self._merged(section, extra)))
        for name, place, part in parts:
            if part.provider in {"", "local"}:
                files.append(self._files(part, place, default=name == "main"))
            elif (entry := self._entry(name, part, place)) is not None:
                fallback = next((it for it in entries if _same_names(it, entry)), None)
                if fallback is None:
                    entries.append(entry)
                else:
                    at = entries.index(fallback)
                    both = (*fallback.authorities, *entry.authorities)
                    entries[at] = msgspec.structs.replace(fallback, authorities=tuple(dict.fromkeys(both)))
        self._check_paths(parts)
        folder = str(self._path(section.folder).absolute()) if section.folder else ""
        return Autocert(AutocertSettings(tuple(entries), self._match_domains, folder), tuple(files))

    @staticmethod
    def _merged(main: AutocertEntry, extra: AutocertEntry) -> AutocertEntry:
        """Return an extra section, completed by the main one except for the files, as in GoDoxy."""
        own = {"cert_path", "key_path"}
        left = [name for name in AutocertEntry.model_fields if name not in own and not getattr(extra, name)]
        if extra.ca_dir_url and extra.ca_dir_url != main.ca_dir_url:  # another CA knows no account of the first
            left = [
                name
                for name in left
                if name not in {"eab_kid", "eab_hmac", "eab_hmac_file", "acme_key_path", "profile"}
            ]
        if extra.provider and extra.provider != main.provider:  # another provider has other options
            left = [name for name in left if name != "options"]
        return extra.model_copy(update={name: getattr(main, name) for name in left})

    def _check_paths(self, parts: list[tuple[str, DocumentPath, AutocertEntry]]) -> None:
        seen: dict[str, str] = {}
        for name, place, part in parts:
            for key in ("cert_path", "key_path"):
                value = getattr(part, key)
                if value and value in seen:
                    hint = "give each certificate files of its own"
                    self._add_problem((*place, key), f"{shorten(value)} is also the file of {seen[value]}", hint)
                elif value:
                    seen[value] = f"autocert ({name}) {key}"

    # ---- files

    def _found(self, name: str) -> Path:
        """Return the path of a file. GoDoxy's working directory is the parent of the folder of its configuration."""
        path = self._path(name)
        if name.startswith(("/", "~")):
            return path
        above = self._path(f"../{name}")
        for here, there in ((path, above), (path.parent, above.parent)):
            if here.exists() != there.exists():
                return path if here.exists() else above
        return path

    def _files(self, part: AutocertEntry, place: DocumentPath, *, default: bool) -> CertificateFiles:
        found = []
        for key, usual in (("cert_path", CERT_PATH), ("key_path", KEY_PATH)):
            path = self._found(getattr(part, key) or usual)
            if not path.is_file():
                hint = "correct the name, or choose another provider, such as http-01, to obtain a certificate"
                self._add_problem((*place, key), f"{shorten(str(path), 200)} does not exist", hint)
            found.append(str(path))
        return CertificateFiles(found[0], found[1], default=default)

    # ---- entries

    def _entry(self, name: str, part: AutocertEntry, place: DocumentPath) -> Entry | None:
        if part.provider == "pseudo":
            message = "the provider pseudo obtains no certificate; it exists only for tests of GoDoxy"
            self._add_problem((*place, "provider"), message, "use internal for certificates of pilotage's own CA")
            return None
        dns = self._dns(part, place)
        if dns is None and part.provider not in _WITHOUT_DNS:
            return None
        if part.provider == "custom" and not part.ca_dir_url:
            self._add_problem((*place, "ca_dir_url"), "provider custom needs ca_dir_url", "add the CA's ACME directory")
        method = cast("Method", _WITHOUT_DNS.get(part.provider, "dns-01"))
        auto = part.domains == ("auto",)
        private = method == "internal" or not _is_public_ca(part.ca_dir_url)
        domains = () if auto else self._domains(part, place, method, private=private)
        key_type = _KEY_TYPES.get(part.certificate_key_type.strip().lower() or "ec256")
        if key_type is None:
            message = f"{shorten(part.certificate_key_type)!r} is not a key type"
            self._add_problem(
                (*place, "certificate_key_type"), message, "use EC256, EC384, RSA2048, RSA3072 or RSA4096"
            )
        self._check_unused(part, place, method, auto=auto)
        keep = bool(part.cert_path or part.key_path)
        return Entry(
            name=name,
            method=method,
            auto=auto,
            private=private,
            domains=domains,
            authorities=() if method == "internal" else (self._authority(part, place),),
            dns=dns,
            key_type=cast("KeyType", key_type or "ec256"),
            cert_path=str(self._found(part.cert_path or CERT_PATH)) if name == "main" or keep else "",
            key_path=str(self._found(part.key_path or KEY_PATH)) if name == "main" or keep else "",
            keep_files=keep and not auto,
        )

    def _check_unused(self, part: AutocertEntry, place: DocumentPath, method: str, *, auto: bool) -> None:
        """Report options that would have no effect."""
        if method == "internal":
            for key in ("ca_dir_url", "ca_certs", "eab_kid", "eab_hmac", "acme_key_path", "profile"):
                if getattr(part, key):
                    message = f"{key} has no effect with provider internal, because pilotage itself is the CA"
                    self._add_problem((*place, key), message, "remove it", at_key=True)
        if method != "dns-01":
            for key in ("options", "resolvers"):
                if getattr(part, key):
                    message = f"{key} has no effect with provider {part.provider}, which sets no DNS records"
                    self._add_problem((*place, key), message, "remove it", at_key=True)
        if auto and (part.cert_path or part.key_path):
            key = "cert_path" if part.cert_path else "key_path"
            message = f"{key} has no effect with domains: auto, which creates several certificates"
            self._add_problem((*place, key), message, "remove it; 'pilotage certificates' lists the files")

    def _domains(self, part: AutocertEntry, place: DocumentPath, method: str, *, private: bool) -> tuple[str, ...]:
        if not part.domains:
            hint = "list names, or write `domains: auto` for the host names of all routes"
            self._add_problem((*place, "domains"), "domains is missing", hint)
        found = []
        for number, text in enumerate(part.domains):
            name, at = ascii_host(text.strip()), (*place, "domains", number)
            if name == "auto":
                self._add_problem(at, "auto cannot be combined with other domains", "write `domains: auto`")
            elif why := why_not_public(name, private=private):
                hint = "remove it, or use provider internal for names without public DNS"
                self._add_problem(at, f"no CA can issue a certificate for {shorten(text)!r}: {why}", hint)
            elif name.startswith("*.") and method in {"http-01", "tls-alpn-01"}:
                hint = "use a DNS provider, or list the names one by one"
                self._add_problem(
                    at, f"{shorten(text)!r} needs a DNS challenge, but the provider is {part.provider}", hint
                )
            else:
                found.append(name)
        return tuple(sorted(set(found)))

    def _dns(self, part: AutocertEntry, place: DocumentPath) -> DnsSettings | None:
        if part.provider in _WITHOUT_DNS:
            return None
        try:
            options = dict(self._read_options(part, place))
            return read_dns_options(part.provider, options, part.resolvers)
        except OptionError as error:
            key: DocumentPath = ("options", error.option) if error.option in part.options else ("provider",)
            self._add_problem((*place, *key), error.message, error.hint, at_key=key[0] == "options")
            return None

    def _read_options(self, part: AutocertEntry, place: DocumentPath) -> Iterator[tuple[str, str]]:
        """Yield the options. ``NAME_file`` is the name of a file with the value of NAME."""
        for name, value in part.options.items():
            if fold(name).endswith("file") and re.search(r"(?i)_file$", name) and fold(name) not in _FILE_OPTIONS:
                yield name[: -len("_file")], self._secret(value, (*place, "options", name))
            else:
                yield name, value

    def _secret(self, name: str, place: DocumentPath) -> str:
        try:
            return secret_in_file(self._path(name))
        except Unset as error:
            self._add_problem(place, error.message, error.hint)
            return "unknown"

    def _authority(self, part: AutocertEntry, place: DocumentPath) -> Authority:
        directory = part.ca_dir_url or LETS_ENCRYPT
        parts = urlsplit(directory)
        if parts.scheme != "https" or not parts.hostname:
            hint = f"write the URL of an ACME directory, such as {LETS_ENCRYPT}"
            self._add_problem((*place, "ca_dir_url"), f"{shorten(directory)!r} is not an https URL", hint)
        if part.email and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", part.email):
            hint = "write one address, such as admin@example.com"
            self._add_problem((*place, "email"), f"{shorten(part.email)!r} is not an e-mail address", hint)
        certs = []
        for number, name in enumerate(part.ca_certs):
            path = self._found(name)
            if not name.strip() or not path.is_file():
                message = f"{shorten(str(path), 200)} does not exist" if name.strip() else "the file name is empty"
                self._add_problem((*place, "ca_certs", number), message, "write the CA's certificate as PEM")
            certs.append(str(path))
        hmac = self._hmac(part, place)
        if bool(part.eab_kid) != bool(hmac):
            key = "eab_hmac" if part.eab_kid else "eab_kid"
            self._add_problem(
                (*place, key), f"{key} is missing", "set both eab_kid and eab_hmac, or neither", at_key=True
            )
        return Authority(
            directory=directory,
            email=part.email,
            ca_certs=tuple(certs),
            eab_kid=part.eab_kid,
            eab_hmac=hmac,
            account_key=str(self._found(part.acme_key_path or _account_key(part.ca_dir_url))),
            keep_account_key=bool(part.acme_key_path),
            profile=part.profile,
        )

    def _hmac(self, part: AutocertEntry, place: DocumentPath) -> str:
        hmac = part.eab_hmac or (
            self._secret(part.eab_hmac_file, (*place, "eab_hmac_file")) if part.eab_hmac_file else ""
        )
        if hmac and not re.fullmatch(r"[A-Za-z0-9_+/-]+={0,2}", hmac):
            self._add_problem((*place, "eab_hmac"), "eab_hmac is not base64url", "copy it from the CA", at_key=True)
        return hmac.translate(str.maketrans("+/", "-_")).rstrip("=")


_FILE_OPTIONS: Final = frozenset(map(fold, ("auth_config_file", "auth_key_file", "tsig_file")))


def _account_key(directory: str) -> str:
    """Return where GoDoxy keeps the account key for a CA."""
    return f"certs/acme_{hashlib.sha256(directory.encode()).hexdigest()[:16]}.key" if directory else "certs/acme.key"


def _is_public_ca(directory: str) -> bool:
    host = urlsplit(directory or LETS_ENCRYPT).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in _PUBLIC)


def _same_names(first: Entry, second: Entry) -> bool:
    """Return whether an entry is for the same names at another CA, to be used if the first one fails."""
    return (
        (first.auto, first.domains, first.method, first.dns) == (second.auto, second.domains, second.method, second.dns)
        and bool(first.authorities)
        and first.authorities != second.authorities
    )
