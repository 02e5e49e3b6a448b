"""The command line: thin, each command calls one function of a room.

Exit codes: 0 good; 1 something is wrong and was named; 2 wrong usage; 78 node.yaml cannot be used
(EX_CONFIG of sysexits.h). Every listing takes --json. Commands that need the models load them
when called, not before.
"""

from dicom_node.cli.app import app, main

__all__ = ["app", "main"]
