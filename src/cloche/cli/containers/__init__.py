"""The verbs about containers that stay: one file for each."""
