"""The commands of the command line, one module each; `ecdd.cli` imports a module only when its command runs."""
