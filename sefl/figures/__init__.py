"""Every picture, by its subject."""
