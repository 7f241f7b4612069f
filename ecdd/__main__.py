"""``python -m ecdd``: the command line without its script."""

from ecdd.cli import main

if __name__ == "__main__":  # a spawned worker imports this module too
    main()
