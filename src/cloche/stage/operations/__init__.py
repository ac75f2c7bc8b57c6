"""The operations a plan is made of, by the rooms they live in."""
