"""The demonstration that runs without any engine."""

from pilotage.demo.engine import demo_containers, demo_engine

__all__ = ["demo_containers", "demo_engine"]
