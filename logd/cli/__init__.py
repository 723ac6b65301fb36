"""The command line: argv, environment and profiles to client calls and to a node."""
