from __future__ import annotations

import threading

import pytest

from pilotage.certificates.threads import in_thread


async def test_results_and_errors_come_back() -> None:
    assert await in_thread(lambda: threading.current_thread().daemon, 10) is True
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, 10)


async def test_a_function_that_hangs_is_given_up() -> None:
    hanging = threading.Event()
    with pytest.raises(TimeoutError):
        await in_thread(lambda: hanging.wait(60), 0)
    hanging.set()
