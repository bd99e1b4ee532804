"""``pilotage certificates``: the certificates that the daemon obtains, and the root of its own CA."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, GroupWithExamples, WithExamples

if TYPE_CHECKING:
    from pilotage.certificates.status import CertificateStatus
    from pilotage.cli.daemon_client import Refused
    from pilotage.output.console import Out

__all__ = ["certificates"]

_TRUST: Final = (
    ("Debian, Ubuntu", "cp root.pem /usr/local/share/ca-certificates/pilotage.crt && update-ca-certificates"),
    ("Fedora", "trust anchor root.pem"),
    ("macOS", "security add-trusted-cert -d -k /Library/Keychains/System.keychain root.pem"),
    ("Windows", "certutil -addstore Root root.pem"),
    ("Firefox", "Settings, Certificates, Authorities, Import"),
    ("curl", "curl --cacert root.pem"),
)
"""How clients trust the root: the client, and a command or menu."""


@click.group(
    cls=GroupWithExamples,
    invoke_without_command=True,
    examples=(
        "pilotage certificates",
        "pilotage certificates root > root.pem",
        "pilotage certificates renew shop.example.com",
    ),
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output format.")
@click.pass_context
def certificates(context: click.Context, *, form: str) -> int:
    """List certificates: names, issuer, expiry, next renewal and the last error.

    Needs a running daemon that obtains certificates. Exit status 1 if a name has no valid certificate.
    """
    import msgspec

    from pilotage.cli.daemon_client import Refused, certificates_of
    from pilotage.output.console import Out

    if context.invoked_subcommand is not None:
        return OK
    out = Out()
    try:
        found = certificates_of(os.environ)
    except Refused as refusal:
        return _refused(refusal)
    if form == "json":
        click.echo(msgspec.json.encode([msgspec.to_builtins(status) for status in found]).decode())
    elif not found:
        out.note(
            "no certificates: set autocert or gateway.tls: internal, and give routes full host names, for example with "
            "match_domains"
        )
    else:
        for status in found:
            _print(status, out)
    return OK if all(status.state == "valid" for status in found) else PROBLEMS


@certificates.command(cls=WithExamples, examples=("pilotage certificates root > root.pem",))
def root() -> int:
    """Print the root certificate of pilotage's own CA, which clients must trust.

    The certificate goes to standard output, and how clients trust it to standard error.
    """
    from pilotage.cli.daemon_client import Refused, root_of

    try:
        pem = root_of(os.environ)
    except Refused as refusal:
        return _refused(refusal)
    click.echo(pem, nl=False)
    width = max(len(client) for client, _ in _TRUST)
    click.echo("\nTo trust it, save it as root.pem. Then, as an administrator of the client:", err=True)
    for client, how in _TRUST:
        click.echo(f"  {client:<{width}}  {how}", err=True)
    return OK


@certificates.command(
    cls=WithExamples,
    examples=("pilotage certificates renew shop.example.com", "pilotage certificates renew shop.example.com --no-wait"),
)
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Return without waiting for the certificate.")
def renew(name: str, *, no_wait: bool) -> int:
    """Replace the certificates for a host name, or try again to obtain a missing one.

    This is rarely needed, because the daemon renews certificates by itself. It accepts one request for a name in 12
    minutes, because CAs limit failures. Exit status 1 if the CA issued no certificate.
    """
    import time

    from pilotage.cli.daemon_client import Refused, certificates_of, renew_certificates
    from pilotage.output.console import Out

    out = Out()
    try:
        old = renew_certificates(os.environ, name)
        names = {known for status in old for known in status.names}
        before = {(status.serial, status.failures) for status in old}
        out.line(f"requested a new certificate for {', '.join(sorted(names))}")
        while not no_wait:
            time.sleep(0.5)
            now = [status for status in certificates_of(os.environ) if names & set(status.names)]
            if before.isdisjoint((status.serial, status.failures) for status in now):
                for status in now:
                    _print(status, out)
                return OK if all(status.state == "valid" and not status.error for status in now) else PROBLEMS
    except Refused as refusal:
        return _refused(refusal)
    return OK


def _refused(refusal: Refused) -> int:
    from pilotage.output.console import Out

    Out().error(str(refusal))
    return NOTHING if refusal.is_unreachable else PROBLEMS


def _print(status: CertificateStatus, out: Out) -> None:
    from rich.text import Text

    for number, line in enumerate(_lines(status)):
        out.paragraph(Text(line), indent=2 if number else 0, hanging=2)


def _lines(status: CertificateStatus) -> list[str]:
    lines = [f"{', '.join(status.names)}: {status.state}"]
    if status.not_after:
        by = ", as the CA suggests" if status.renewal_by_ca else ""
        lines.append(f"issued by {status.issuer}, expires {_time(status.not_after)}")
        lines.append(f"{'being renewed now' if status.renewing else f'renewal {_time(status.renew_at)}{by}'}")
        lines.append(f"{status.file}")
    else:
        lines.append("clients get a self-signed certificate until the CA has issued one")
    if status.error:
        hint = f"; {status.hint}" if status.hint else ""
        lines.append(f"last error: {status.error}{hint}")
        lines.append(f"next attempt {_time(status.next_attempt)}")
    return lines


def _time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) if at > 0 else "as soon as possible"
