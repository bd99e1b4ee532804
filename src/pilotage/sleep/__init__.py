"""Puts containers without requests to sleep, and wakes them when the next request arrives.

Its inputs are updates to the route table, Envoys' load reports, and the clusters that Envoys ask for. Its outputs are
commands to engines and a decision for each route: whether its requests pass, wait or are rejected. This package must
not decide which route gets a name, build Envoy's configuration or read labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.sleep.datagrams import Datagrams, Target
    from pilotage.sleep.engine_actions import SleepError
    from pilotage.sleep.loading_page import WakeStatus, page_headers, render_page
    from pilotage.sleep.page_server import PageServer
    from pilotage.sleep.readiness import Readiness, check_readiness
    from pilotage.sleep.sleeper import Sleeper
    from pilotage.sleep.state import Phase
    from pilotage.sleep.status import SleepStatus, describe
    from pilotage.sleep.stranded import StrandedRequests

__all__ = [
    "Datagrams",
    "PageServer",
    "Phase",
    "Readiness",
    "SleepError",
    "SleepStatus",
    "Sleeper",
    "StrandedRequests",
    "Target",
    "WakeStatus",
    "check_readiness",
    "describe",
    "page_headers",
    "render_page",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "check_readiness": "readiness",
        "Readiness": "readiness",
        "Datagrams": "datagrams",
        "Target": "datagrams",
        "render_page": "loading_page",
        "page_headers": "loading_page",
        "describe": "status",
        "WakeStatus": "loading_page",
        "Sleeper": "sleeper",
        "SleepStatus": "status",
        "SleepError": "engine_actions",
        "Phase": "state",
        "StrandedRequests": "stranded",
        "PageServer": "page_server",
    },
)
