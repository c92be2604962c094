"""The graphs that runtimes lower, one file a skeleton."""
