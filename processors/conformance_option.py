"""The option of `pytest --pyargs processors.conformance --bundle BUNDLE`: a pytest plugin.

Beside the suite and not in it, because pytest imports it at each start. Without the option it does
nothing.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bundle", help="a model's bundle to check: a folder, or a shipped name")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Writes no cache: pytest takes the bundle for its root, where an unlisted file refuses it."""
    if config.getoption("--bundle"):
        for name in ("lfplugin", "nfplugin"):
            if plugin := config.pluginmanager.get_plugin(name):
                config.pluginmanager.unregister(plugin)
