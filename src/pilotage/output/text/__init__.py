"""Tables and paragraphs for people, one module for each kind of output."""
