"""`python -m clients.cli`: the same as `antrian`."""

from clients.cli.main import main

if __name__ == "__main__":
    main()
