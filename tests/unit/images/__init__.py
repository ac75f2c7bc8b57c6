"""Tests of cloche.images that need no container."""
