"""Black-box tests of an OCI runtime's command line: cloche-runtime, or the one that --oci-runtime names."""
