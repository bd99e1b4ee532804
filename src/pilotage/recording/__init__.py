"""Records and replays the responses of engines, for bug reports and tests.

Capturing an engine gives a recording without secrets. Replaying the recording gives the same snapshot as the engine.
A recording must contain no secrets, and no fields that pilotage does not read.
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
