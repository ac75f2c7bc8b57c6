"""Registries, as a client of the distribution specification (1.1) and docker's token protocol.

    client     a repository: manifests, blobs, tags, referrers, what is deleted
      uploads    blobs that are sent: in one request, in parts, or mounted
      referrers  what names an image as its subject
      pages      lists that come in pages: tags, the catalog
      session    one registry asked as one user; what its refusals mean
      auth       who asks: basic and bearer (token) authentication
      reading    answers that are read whole
      transport  HTTP: connections, redirects, trying again, proxies, certificates
    searching  images found by a word

What a registry answers is hostile until its digest has been checked, which is the caller's part.
"""
