"""Records and replays the responses of engines, for bug reports and tests.

Engines go in and recordings without secrets come out; a recording goes in and the same snapshot as from the engine
comes out.
It must not keep a field that pilotage does not read, or let a secret leave the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.recording.capture import Captured, capture_all, recording_json
    from pilotage.recording.replay import Recording, read_recordings, replay_recording

__all__ = [
    "Captured",
    "Recording",
    "capture_all",
    "read_recordings",
    "recording_json",
    "replay_recording",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Captured": "capture",
        "Recording": "replay",
        "capture_all": "capture",
        "read_recordings": "replay",
        "recording_json": "capture",
        "replay_recording": "replay",
    },
)
