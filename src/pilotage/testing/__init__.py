"""For tests of what is built on pilotage, and for trying it: a container engine that is not there."""

from pilotage.testing.container import FakeContainer, FakePort, container
from pilotage.testing.fake_engine import FakeEngine
from pilotage.testing.faults import Fault

__all__ = ["FakeContainer", "FakeEngine", "FakePort", "Fault", "container"]
