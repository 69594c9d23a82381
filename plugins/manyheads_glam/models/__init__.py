"""Language models behind the platform's contract: embedded, on this machine, behind a server, from a file."""
