"""An executed notebook as a page of its own: HTML that needs no outside host, in the profiles that readers ask for."""
