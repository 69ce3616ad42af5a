"""Programs that use Atelier from outside, by its public interfaces alone."""
