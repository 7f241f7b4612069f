"""Rules that clauses of gate G4 rest on: properties, second computations and numbers known by hand."""
