"""The verbs about volumes: volume create, ls, inspect, rm, prune, exists; one file each."""
