"""Programs of another user on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

__all__ = ["NOBODY", "fetch_resources", "reaches"]

NOBODY: Final = 65534


_CONNECT: Final = """
import json, os, socket, sys
uid, path = int(sys.argv[1]), sys.argv[2]
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(path)
    print(json.dumps("connected"))
except OSError as error:
    print(json.dumps(error.strerror))
"""

_FETCH: Final = """
import json, os, sys
import grpc
from envoy.service.discovery.v3 import discovery_pb2
uid, address, type_url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if uid:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
call = grpc.insecure_channel(address).stream_stream(
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
    response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
)
request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=["*"])
request.node.id = "stranger"
try:
    answer = next(call(iter([request]), timeout=10))
    print(json.dumps(answer.SerializeToString().decode("latin-1")))
except grpc.RpcError as error:
    print(json.dumps(error.code().name))
"""


def _run(code: str, *args: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def reaches(path: str, uid: int = NOBODY) -> str:
    """Connect to a unix socket as a user; return ``connected``, or the error."""
    return str(_run(_CONNECT, str(uid), path))


def fetch_resources(address: str, type_url: str, uid: int = NOBODY) -> str:
    """Ask an xDS server for all resources of a type as a user; return what came, or the status."""
    return str(_run(_FETCH, str(uid), address, type_url))
