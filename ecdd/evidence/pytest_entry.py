"""What pytest loads in every environment that has ECDD installed: a switch, off by default.

A project turns the plugin on in its pytest settings with ``ecdd = true``. Everywhere else nothing is added but that
setting: no option, no fixture, no file, and nothing else of ECDD is imported.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch."""
    parser.addini("ecdd", type="bool", default=False, help="use ECDD's fixtures, evidence records and options")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load the plugin where the project asks for it."""
    if early_config.getini("ecdd"):
        early_config.pluginmanager.import_plugin("ecdd.evidence.pytest_plugin")
