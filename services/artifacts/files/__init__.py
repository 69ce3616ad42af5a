"""Contents of files beside notebooks: stored once per project, by hash. Which paths they have is catalog's to know."""
