"""The commands, with one module for each.

Parsed options go in; text or JSON and an exit status come out. Before a command runs, its module must import nothing
but click and :mod:`pilotage.cli.options`.
"""
