"""Files beside a notebook: each version's paths and contents. The bytes are with artifacts."""
