"""``pilotage certificates``: the certificates that the daemon obtains, and the root of the internal CA."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, WithExamples

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.certificates.status import CertificateStatus
    from pilotage.output.console import Out

__all__ = ["certificates"]


@click.command(cls=WithExamples, examples=("pilotage certificates", "pilotage certificates --root > root.pem"))
@click.option("--root", is_flag=True, help="Print the root certificate of the internal CA, which clients must trust.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Output format.")
def certificates(*, root: bool, form: str) -> int:
    """List certificates: names, issuer, expiry, next renewal and the last error.

    Needs a running daemon with the section autocert. Exit status 1 if a name has no valid certificate.
    """
    import msgspec

    from pilotage.cli.daemon_client import Refused, certificates_of
    from pilotage.output.console import Out

    out = Out()
    try:
        found = certificates_of(os.environ)
    except Refused as refusal:
        out.error(str(refusal))
        return NOTHING
    if root:
        return _print_root(found, out)
    if form == "json":
        click.echo(msgspec.json.encode([msgspec.to_builtins(status) for status in found]).decode())
    elif not found:
        out.line("no certificates; add the section autocert to the configuration")
    else:
        for status in found:
            for line in _lines(status):
                out.line(line)
    return OK if all(status.state == "valid" for status in found) else PROBLEMS


def _lines(status: CertificateStatus) -> list[str]:
    lines = [f"{', '.join(status.names)}: {status.state}"]
    if status.not_after:
        by = ", as the CA suggests" if status.renewal_by_ca else ""
        lines.append(f"  issued by {status.issuer}, expires {_time(status.not_after)}")
        lines.append(f"  {'being renewed now' if status.renewing else f'renewal {_time(status.renew_at)}{by}'}")
        lines.append(f"  {status.file}")
    else:
        lines.append("  clients get a self-signed certificate until then")
    if status.error:
        hint = f"; {status.hint}" if status.hint else ""
        lines.append(f"  last error: {status.error}{hint}")
        lines.append(f"  next attempt {_time(status.next_attempt)}")
    return lines


def _time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) if at > 0 else "as soon as possible"


def _print_root(found: list[CertificateStatus], out: Out) -> int:
    from pathlib import Path

    folders = {Path(status.file).parents[2] for status in found if status.file}
    roots = [folder / "internal" / "root.pem" for folder in folders]
    for root in roots:
        if text := _read(root):
            click.echo(text, nl=False)
            return OK
    out.error("there is no internal CA; set provider: internal in autocert, and run this as the daemon's user")
    return PROBLEMS


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
