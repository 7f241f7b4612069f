"""Rules that clauses of gate G2 rest on: properties, second computations and numbers known by hand."""
