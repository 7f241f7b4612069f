"""The error of every export, in a module that needs no torch: looking inside a file must not need it either."""

from ecdd.errors import EcddError


class ExportError(EcddError):
    """A model cannot be exported, or an exported file does not do what the model does."""
