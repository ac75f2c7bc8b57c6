"""Tests of cloche.engine that need no container."""
