"""Public and own test lists by name: each reads the set's own layout and gives a manifest."""
