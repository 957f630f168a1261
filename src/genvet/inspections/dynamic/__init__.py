"""How the network behaves inside: units, gradients, slopes."""
