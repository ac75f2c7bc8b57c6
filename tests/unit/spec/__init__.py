"""The OCI documents: shapes, sense, and the JSON reader beneath them."""
