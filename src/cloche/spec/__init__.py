"""The OCI runtime documents as Python types: what they look like and what they may say. No I/O.

    bytes ── reader.read_json ──▶ object ── Config.parse ──▶ Config ── validate ──▶ warnings
             duplicates, depth,             shape: types,             sense: what the
             encoding                       ranges, value sets        spec forbids

Every refusal is a `SpecError` whose pointer (RFC 6901) says where. Attribute names are the OCI's own
camelCase, here and nowhere else. What a value is good for is decided in `cloche.runtime`.
"""
