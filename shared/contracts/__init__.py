"""Commands, events and the shapes they carry: the whole vocabulary of the bus, data only."""
