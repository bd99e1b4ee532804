"""The commands, with one module for each.

Parsed options go in; text or JSON and an exit status come out. They must not import anything but click and
:mod:`pilotage.cli.options` before they run.
"""
