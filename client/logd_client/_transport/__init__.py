"""How bytes get to a node and back."""
