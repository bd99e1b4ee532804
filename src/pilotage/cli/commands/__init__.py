"""Implements the commands. Related commands share a module.

Parsed options go in; text or JSON and an exit status come out. Before a command runs, its module must import nothing
but click and :mod:`pilotage.cli.options`.
"""
