"""1. The engines: everything that touches a socket to one."""
