"""Scale- and group-equivariant networks: layers, metrics and the commands that train and measure them."""
