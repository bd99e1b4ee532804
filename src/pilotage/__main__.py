"""The program ``pilotage``, run as ``python -m pilotage``."""

from __future__ import annotations

from _pilotage_start import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
