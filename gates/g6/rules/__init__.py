"""Rules that clauses of gate G6 rest on: properties, second computations and numbers known by hand."""
