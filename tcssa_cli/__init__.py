"""The command line: parse, build settings, call one library function, print its result."""
