"""The two engines: jobs, records, manifest, locks."""
