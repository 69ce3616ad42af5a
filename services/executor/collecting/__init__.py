"""What a run produced: outputs, saved files and the executed notebook become artifacts under a sealed manifest."""
