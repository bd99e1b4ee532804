"""Runs programs as on a machine whose clock is wrong. Their timers go on as usual."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from tests.support.install import debian_packages
from tests.support.required import required

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["in_wrong_time"]

# libfaketime makes Envoy hang: it changes timers too, even with the option that is meant to prevent this.
_LIBRARY: Final = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t ahead(void)
{
    const char *seconds = getenv("CLOCK_AHEAD");
    return seconds ? atoll(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *result)
{
    int status = syscall(SYS_clock_gettime, clock, result);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        result->tv_sec += ahead();
    return status;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
"""


def in_wrong_time(folder: Path, seconds: int) -> tuple[str, ...]:
    """Return a prefix that runs a command, and what it starts, with a clock that is ahead by a number of seconds.

    Args:
        folder: where a library for it is built.
        seconds: negative if the clock is behind.

    """
    if (compiler := shutil.which("cc")) is None:
        with required():
            debian_packages({"tcc": "tcc"})
        compiler = "tcc"
    library = folder / "clock.so"
    if not library.exists():
        (folder / "clock.c").write_text(_LIBRARY)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "clock.c"], check=True)
    return ("env", f"LD_PRELOAD={library}", f"CLOCK_AHEAD={seconds}")
