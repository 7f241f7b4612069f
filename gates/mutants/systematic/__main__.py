"""Command line of the campaign: a module of this name is not imported by the processes that mutants are planted in."""

import sys

if __name__ == "__main__":
    from gates.mutants.systematic.campaign import main

    sys.exit(main())
