"""Files of any kind: read without running code, written whole or not at all."""
