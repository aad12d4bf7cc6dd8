import sys

from refnorm.cli import main

if __name__ == "__main__":                          # the workers of mpi4py.futures import this file under another name
    sys.exit(main())
