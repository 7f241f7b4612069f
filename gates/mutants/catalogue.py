"""The defects that gates must catch, of all gates; each stands in the catalogue of its part."""

from __future__ import annotations

from typing import Final

from gates.mutants import model_catalogue, operation_catalogue, pixel_catalogue, release_catalogue
from gates.mutants.mutant import Mutant

_PARTS: Final = (pixel_catalogue, model_catalogue, release_catalogue, operation_catalogue)

MUTANTS: Final[dict[str, Mutant]] = {name: mutant for part in _PARTS for name, mutant in part.MUTANTS.items()}
