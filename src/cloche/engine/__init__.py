"""Named containers: who runs, under which name, and what is left when something was killed.

records   one small file for each running container
events    what happens is written down; event_log reads it, event_filters say which is meant
"""
