"""Speed, measured: this system and its peer on the same notebooks in one run; `make bench`. These are no tests."""
