"""Tests of cloche.stage that need no container."""
