"""Where images are kept: an OCI image layout that any tool reads as it is, and the layers unpacked beside it.

    STORE/oci-layout, index.json      names, and what they stand for
          blobs/sha256/HEX            content by digest: manifests, configs, layers as they were sent
          layers/sha256/HEX/          a layer unpacked, by the digest of its tar (diffID)
          incoming/                   what is on its way; whoever writes there holds a lock on it
          lock                        held while index.json is changed

Nothing is ever changed in place: content gets its name when it is whole and was checked (fsync, rename, fsync of the
directory), so that a reader sees all of it or nothing, and whoever is killed leaves nothing but files in incoming/.
"""
