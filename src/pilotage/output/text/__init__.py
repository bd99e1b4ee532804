"""Prints human-readable tables and paragraphs, with one module for each kind of output.

Views, problems and explanations go in; lines on an :class:`~pilotage.output.console.Out` come out.
This package must not decide anything about routes or contact engines.
"""
