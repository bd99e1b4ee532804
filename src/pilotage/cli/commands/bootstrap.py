"""``pilotage envoy-bootstrap``: the bootstrap configuration of an external Envoy."""

from __future__ import annotations

import click

from pilotage.cli.options import OK, WithExamples, gateway_extra

__all__ = ["envoy_bootstrap"]


@click.command(
    "envoy-bootstrap",
    cls=WithExamples,
    examples=(
        "pilotage envoy-bootstrap unix:///run/pilotage/pilotage-xds/ads.sock > envoy.json",
        "pilotage envoy-bootstrap hq:18000 --ca-file ca.pem --cert-file cert.pem --key-file key.pem > envoy.json",
        "envoy -c envoy.json",
    ),
)
@click.argument("place", metavar="ADDRESS")
@click.option("--ca-file", metavar="FILE", default="", help="CA certificate that signed the daemon's certificate.")
@click.option("--cert-file", metavar="FILE", default="", help="Client certificate of this Envoy.")
@click.option("--key-file", metavar="FILE", default="", help="Private key of the client certificate.")
@click.option("--node", metavar="NAME", default="", help="Node ID of this Envoy. [default: the host name]")
@click.option(
    "--max-connections",
    metavar="N",
    type=click.IntRange(16),
    default=50_000,
    help="Maximum number of client connections, at most half of the files that Envoy may open there. [default: 50000]",
)
@click.option(
    "--max-memory",
    metavar="MIB",
    type=click.IntRange(64),
    default=2048,
    help="Size of Envoy's heap at which it refuses requests. [default: 2048]",
)
@click.option(
    "--client-limit",
    "module_folder",
    metavar="FOLDER",
    default="",
    help="Folder on Envoy's machine with libpilotage_clients.so, which limits the connections of each client. Start "
    "Envoy with ENVOY_DYNAMIC_MODULES_SEARCH_PATH=FOLDER.",
)
def envoy_bootstrap(
    *,
    place: str,
    ca_file: str,
    cert_file: str,
    key_file: str,
    node: str,
    max_connections: int,
    max_memory: int,
    module_folder: str,
) -> int:
    """Print the bootstrap configuration of an external Envoy.

    An Envoy that starts with this configuration fetches its routes from the daemon at ADDRESS, which must be the
    address that gateway.xds sets in the daemon's configuration. HOST:PORT requires --ca-file, --cert-file and
    --key-file. unix:///PATH requires that Envoy runs on the daemon's machine and as the daemon's user. File names are
    paths on Envoy's machine. Envoy's admin interface listens on the unix socket envoy-admin.sock in its working
    directory.
    """
    import socket

    import msgspec

    with gateway_extra():
        from pilotage.xds.bootstrap import build_bootstrap
        from pilotage.xds.overload import Limits

    files = {"ca": ca_file, "certificate": cert_file, "key": key_file}
    if any(files.values()) and not all(files.values()):
        raise click.UsageError("--ca-file, --cert-file and --key-file are required together.")
    tls = files if ca_file else None
    if place.startswith("unix:"):
        place = f"unix:{place.removeprefix('unix:').removeprefix('//')}"
        if not place.startswith("unix:/") or tls:
            raise click.UsageError("write unix:// and an absolute path, without certificates.")
    else:
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise click.UsageError(f"{place!r} is not an address; write HOST:PORT, such as pilotage.lan:18000.")
        if tls is None:
            raise click.UsageError(
                "the daemon serves TCP only with mutual TLS; add --ca-file, --cert-file and --key-file, "
                "or connect to a unix socket."
            )
    limits = Limits(connections=max_connections, memory=max_memory << 20)
    name = node or socket.gethostname()
    body = build_bootstrap(place, name, tls=tls, admin="envoy-admin.sock", limits=limits, client_limit=module_folder)
    click.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
    return OK
