"""Tests of cloche.runtime that need no container."""
