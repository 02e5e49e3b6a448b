"""What every model of this node must do, asked of one bundle before a node runs it.

In: a bundle's folder, and for an HTTP endpoint a way to it. Out: a list of verdicts, each with what
was found in words. The same list for our own bundles and for other people's. Run it with `dictamen
models check BUNDLE`, or with `pytest --pyargs processors.conformance --bundle BUNDLE`.
Never: a judgement of how good a model is (that is its card's); a change of the bundle (what must
fail is tried on copies).
"""

from processors.conformance.checks import CHECKS, Verdict, passed, run
from processors.conformance.subject import Subject, kind_of

__all__ = ["CHECKS", "Subject", "Verdict", "kind_of", "passed", "run"]
