"""How Atelier is put on a machine: `local` runs it natively; the rest are files for builders and clusters."""
