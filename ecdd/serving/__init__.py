"""The local site: pictures come over HTTP, verdicts go back; no picture is written to disk."""
