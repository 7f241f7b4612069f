"""Rules that clauses of gate G3 rest on: properties, second computations and numbers known by hand."""
