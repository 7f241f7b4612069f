"""Mutation testing of the modules that decide: mutants that nobody chose, against every test that can see them."""

from typing import Final

LINES: Final = "lines.sqlite"  # of one test file: which test runs which line
OUTCOMES: Final = "outcomes.json"  # of one test file: how each test ends without a mutant, and after how many seconds
VARIABLE = "ECDD_MUTATION"  # path of a JSON file: {"module": dotted name, "path": file, "source": text}
LOADED = ".loaded"  # suffix of the file beside it that says that a process runs the mutant
