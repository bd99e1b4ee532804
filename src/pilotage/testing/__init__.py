"""A fake container engine for tests of programs that use pilotage, and for trying pilotage without an engine.

Containers, operations and faults go in; an engine on a unix socket or TCP port of loopback that behaves so comes out.
It must not use the client code that it is there to test.
"""

from pilotage.testing.container import FakeContainer, FakePort, container
from pilotage.testing.fake_engine import FakeEngine
from pilotage.testing.faults import Fault

__all__ = ["FakeContainer", "FakeEngine", "FakePort", "Fault", "container"]
