"""The options of a command: read once, and every mistake said in one line."""
