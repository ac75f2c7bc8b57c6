"""The verbs about all of it: what happens, what there is, what it takes up, and taking it away."""
