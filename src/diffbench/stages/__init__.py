"""One module a stage; nobody imports a stage but the command line."""
