"""Says why the model says what it says, and tests whether that is true.

In: a Subject (one finding on one film, with the opened bundle). Out: an Explanation whose checks
were measured on the very frames, or the very map, that would be shown. Never: a finding, a
threshold, a report; a heavy package loaded before a method is called that needs it.
One method a file, each with the same two calls: `explain`, and `map_of`, the map alone in the
network's grid. `faithfulness` scores them all, `compare` lays their maps side by side, `regions`
draws.
"""

from collections.abc import Mapping
from types import ModuleType

from processors.explain import gradcam, lime, occlusion, shap, traversal
from processors.explain.method import Method, MethodNotInstalled, require
from processors.explain.subject import Film, Scale, Subject


def _method(of: ModuleType) -> Method:
    return Method(of.explain, of.map_of, of.NEEDS, of.COST_MS)


METHODS: Mapping[str, Method] = {
    "traversal": _method(traversal),
    "gradcam": _method(gradcam),
    "occlusion": _method(occlusion),
    "lime": _method(lime),
    "shap": _method(shap),
}

__all__ = ["METHODS", "Film", "Method", "MethodNotInstalled", "Scale", "Subject", "require"]
