"""Tests of cloche.network that need no container."""
