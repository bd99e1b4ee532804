"""Provides a fake container engine for tests of programs that use pilotage, and for trying pilotage without an engine.

Containers, operations and faults go in; an engine that behaves accordingly comes out, on a unix socket or loopback
port. It must not use the client code that it helps to test.
"""

from pilotage.testing.container import FakeContainer, FakePort, container
from pilotage.testing.fake_engine import FakeEngine
from pilotage.testing.faults import Fault

__all__ = ["FakeContainer", "FakeEngine", "FakePort", "Fault", "container"]
