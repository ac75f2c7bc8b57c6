"""Tests of cloche.sandbox that need no container."""
