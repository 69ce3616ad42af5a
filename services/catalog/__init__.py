"""The catalog: notebooks, their versions and templates, and what their runs came to."""
