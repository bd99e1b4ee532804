"""``pilotage envoy-bootstrap``: the file that an Envoy elsewhere is started with."""

from __future__ import annotations

import click

from pilotage.cli.options import OK, WithExamples, gateway_extra

__all__ = ["envoy_bootstrap"]


@click.command(
    "envoy-bootstrap",
    cls=WithExamples,
    examples=(
        "pilotage envoy-bootstrap hq:18000 --ca-file ca.pem --cert-file cert.pem --key-file key.pem > envoy.json",
        "envoy -c envoy.json",
    ),
)
@click.argument("place", metavar="HOST:PORT")
@click.option("--ca-file", metavar="FILE", default="", help="Who signed the daemon's certificate.")
@click.option("--cert-file", metavar="FILE", default="", help="What this Envoy shows to the daemon.")
@click.option("--key-file", metavar="FILE", default="", help="Its private key.")
@click.option("--node", metavar="NAME", default="", help="What this Envoy calls itself. [default: the host's name]")
def envoy_bootstrap(*, place: str, ca_file: str, cert_file: str, key_file: str, node: str) -> int:
    """Print the configuration of an Envoy elsewhere.

    Started with it, that Envoy gets its routes from the daemon here. HOST:PORT is where it reaches the daemon: what
    gateway.xds says in its configuration. The files are named as they are on Envoy's machine. Envoy's administration
    is on a unix socket beside its own working folder.
    """
    import socket

    import msgspec

    with gateway_extra():
        from pilotage.xds.bootstrap import bootstrap

    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{place!r} is no place; write HOST:PORT, such as pilotage.lan:18000.")
    files = {"ca": ca_file, "certificate": cert_file, "key": key_file}
    if any(files.values()) and not all(files.values()):
        raise click.UsageError("--ca-file, --cert-file and --key-file go together.")
    tls = files if ca_file else None
    body = bootstrap(place, node or socket.gethostname(), tls=tls, admin="envoy-admin.sock")
    click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    return OK
