"""The commands, each in a module of its own. Only click is imported at once; the rest where a command needs it."""
