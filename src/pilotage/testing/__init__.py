"""Provides a fake container engine for tests of programs that use pilotage, and for trying pilotage without an engine.

Containers, operations and faults go in; an engine that behaves accordingly comes out, on a unix socket or loopback
port. A fake agent relays requests to a real or fake engine, as GoDoxy's agent does. This package must not use the
client code that it helps to test.
"""

from pilotage.testing.container import FakeContainer, FakePort, container
from pilotage.testing.fake_agent import FakeAgent
from pilotage.testing.fake_engine import FakeEngine
from pilotage.testing.faults import Fault

__all__ = ["FakeAgent", "FakeContainer", "FakeEngine", "FakePort", "Fault", "container"]
