"""Registries, as a client of the distribution specification (1.1) and docker's token protocol.

    client     what a registry is asked: manifests, blobs, tags
      auth     who asks: basic and bearer (token) authentication
      transport  HTTP: connections, redirects, trying again, certificates

What a registry answers is hostile until its digest has been checked, which is the caller's part.
"""
