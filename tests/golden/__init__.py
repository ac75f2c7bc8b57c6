"""Plans as text: what a set of options means on machines that are written down here, not probed."""
