"""Rules that clauses of gate G1 rest on: properties, second computations and numbers known by hand."""
