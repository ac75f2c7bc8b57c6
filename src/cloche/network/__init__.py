"""Networks: what a container sees of them, and the names it resolves.

names     /etc/hosts, /etc/hostname and /etc/resolv.conf of a container
"""
