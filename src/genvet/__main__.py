"""`python -m genvet` is `genvet`."""

from genvet.cli import main

if __name__ == "__main__":
    main()
