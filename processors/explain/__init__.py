"""Says why the model says what it says, and tests whether that is true.

In: a Subject (one finding on one film, with the opened bundle). Out: an Explanation whose checks
were measured on the very frames that would be shown. Never: a finding, a threshold, a report.
One method a file, each with the same call; `faithfulness` scores them all, `regions` draws.
"""

from processors.explain.subject import Film, Scale, Subject
from processors.explain.traversal import explain as traversal

METHODS = {"traversal": traversal}

__all__ = ["METHODS", "Film", "Scale", "Subject", "traversal"]
