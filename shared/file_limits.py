"""How many files a notebook may have beside it, and how large. Apart, for programs that must not import much."""

MAX_FILE_BYTES = 50_000_000
"""Size of one file, in bytes; what is larger is data, and belongs in a dataset."""

MAX_FILES_BYTES = 200_000_000
"""Size of all files of a notebook together, in bytes: they are laid into the folder of each run."""

MAX_FILES = 1_000
"""Files of one notebook."""
