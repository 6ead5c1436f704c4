"""One module per command: paths in, paths out. The only place where sibling stages meet."""
