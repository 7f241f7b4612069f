"""Root of the test run: everything lives in the plugin."""

pytest_plugins = ["ecdd.evidence.pytest_plugin"]
