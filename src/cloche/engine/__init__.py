"""Named containers: who runs, under which name, and what is left when something was killed.

records   one small file for each running container
events    what has happened, and what happens
"""
