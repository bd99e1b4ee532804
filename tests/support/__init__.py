"""Helpers for tests: real engines, Envoys, servers that misbehave, and the programs they need."""
