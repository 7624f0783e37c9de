"""The command that shows what a network says of images."""
