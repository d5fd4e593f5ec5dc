"""The article's claims: read from workflow/claims.yaml, measured on the tables, judged over training seeds."""
